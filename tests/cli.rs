//! The command line as a user types it, with good and bad input.

pub(crate) mod attack_command;
pub(crate) mod bad_input;
mod book;
mod catalogue;
mod compare;
mod explain;
mod export;
mod fetch;
mod hostile;
mod init;
mod interrupted;
mod logging;
mod new_plugin;
mod radii;
mod radii_saved;
mod report;
mod run_folder;
mod schema;
mod show;
mod sweep;
