//! Tests of the whole: registries, golden values, the command line as a user types it. One binary.

mod algorithm2;
mod attack_command;
mod bad_attack;
mod bad_input;
mod carlini_wagner;
mod catalogue;
mod cifar;
mod closed_form;
mod conformance;
mod deepfool;
mod defaults;
mod evaluations;
mod evaluations_run;
mod fetch;
mod fewer_passes;
mod giving_up;
mod hostile;
mod init;
mod layers;
mod left_out;
mod losses;
mod models;
mod momentum;
mod new_plugin;
mod numerics;
mod peers;
mod peers_trained;
mod pgd;
mod photos;
mod real_inputs;
mod reproduce;
mod resnet;
mod resume;
mod run_folder;
mod saturated;
mod show;
mod support;
mod survive;
mod trained;
mod training;
mod training_images;
mod training_options;
mod transfer;
mod twin;

#[test]
fn the_workspace_is_tidy() {
    let faults = xtask::tidy::faults(&support::root()).unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
