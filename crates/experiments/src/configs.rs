//! The locations of tables and recipes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A folder with `tables` and `recipes`, and the folder for its runs and reports.
#[derive(Debug, Clone)]
pub struct Configs {
    /// The folder.
    pub folder: PathBuf,
    /// The folder that contains `runs` and `reports` of its experiments.
    pub home: PathBuf,
}

impl Configs {
    /// The named folder, with runs in the current folder. If no folder is named: `configs` in the current
    /// folder or in one above it, with runs beside it.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("cannot tell the current folder")?;
        match named {
            Some(folder) if holds(folder) => Ok(Self { folder: folder.into(), home: here }),
            Some(folder) => {
                bail!("--configs {0}: there are no {0}/tables and {0}/recipes", folder.display())
            }
            None => here.ancestors().find_map(Self::in_folder).with_context(|| {
                format!(
                    "there are no configs/tables and configs/recipes in {} or in a folder above it\n  run this in a copy of temper's \
                     repository, or name the folder that holds `tables` and `recipes`: --configs DIR",
                    here.display()
                )
            }),
        }
    }

    /// The folder to which a table or recipe file belongs by its location: the one above it that contains
    /// `tables` and `recipes`.
    pub fn around(file: &Path) -> Option<Self> {
        // The path as given is tried first, because messages contain it.
        let whole = std::path::absolute(file).ok()?;
        let mut folders = [file, &*whole].into_iter().flat_map(|path| path.ancestors().skip(1).take(3));
        let folder = folders.find(|folder| holds(folder))?;
        Some(Self { folder: folder.into(), home: folder.parent().unwrap_or(folder).into() })
    }

    /// The folder of table files.
    pub fn tables(&self) -> PathBuf {
        self.folder.join("tables")
    }

    /// The folder of fragments.
    pub fn recipes(&self) -> PathBuf {
        self.folder.join("recipes")
    }

    fn in_folder(home: &Path) -> Option<Self> {
        let folder = home.join("configs");
        holds(&folder).then(|| Self { folder, home: home.into() })
    }
}

fn holds(folder: &Path) -> bool {
    folder.join("tables").is_dir() && folder.join("recipes").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_folder_that_holds_tables_and_recipes() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["configs/tables", "configs/recipes/networks"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        for file in ["configs/tables/t.toml", "configs/recipes/r.toml", "configs/recipes/networks/n.toml"] {
            let configs = Configs::around(&home.path().join(file)).unwrap();
            assert_eq!((configs.folder, configs.home), (home.path().join("configs"), home.path().into()));
        }
        assert!(Configs::around(&home.path().join("r.toml")).is_none());
        let told = Configs::find(Some(home.path())).unwrap_err().to_string();
        assert!(told.starts_with("--configs ") && told.ends_with("/recipes"), "{told}");
    }
}
