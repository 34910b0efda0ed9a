//! Values of a pipeline as command-line options: a name, a number, or TOML on one line.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use crate::config::first_line;
use crate::reading::Reading;

/// Parses the value of `--OPTION`. Bare words are text; `name = { .. }` means the same as in a pipeline.
/// Returns `None` and adds a message to `faults` if the value is invalid.
pub(crate) fn read<T: DeserializeOwned>(option: &str, text: &str, faults: &mut Vec<String>) -> Option<T> {
    let text = text.trim();
    let line = match text {
        _ if text.contains('\n') => Err("a value stands on one line".to_string()),
        _ if text.starts_with('{') => Ok(format!("{option} = {text}")),
        _ if text.contains('=') => Ok(format!("{option}.{text}")),
        _ => {
            let written = format!("{option} = {text}");
            let quoted = || format!("{option} = {}", toml::Value::from(text));
            Ok(if DeTable::parse(&written).is_ok() { written } else { quoted() })
        }
    };
    let mut add = |message: &str, path: &str| {
        let at = if path.is_empty() || path == option { String::new() } else { format!("\n  at {path}") };
        faults.push(format!("--{option} {text}: {message}{at}"));
    };
    let line = line.map_err(|message| add(&message, "")).ok()?;
    let document = DeTable::parse(&line).map_err(|error| add(first_line(error.message()), "")).ok()?;
    let (value, reading) = Reading::of::<BTreeMap<String, T>>(&document);
    let wrong = reading.into_faults();
    for fault in &wrong {
        add(&fault.message, &fault.path);
    }
    value?.remove(option).filter(|_| wrong.is_empty())
}

#[cfg(test)]
mod tests {
    use temper_core::{Attack, Chosen, Distance, Norm};

    use super::*;

    fn fault<T: DeserializeOwned>(option: &str, text: &str) -> String {
        let mut faults = vec![];
        assert!(read::<T>(option, text, &mut faults).is_none());
        faults.join("\n")
    }

    #[test]
    fn names_numbers_quotients_and_tables_are_read() {
        let mut faults = vec![];
        let attack = |text: &str, faults: &mut Vec<String>| {
            let attack: Chosen<dyn Attack> = read("attack", text, faults).unwrap();
            (attack.name(), attack.params().get("steps").and_then(toml::Value::as_integer))
        };
        assert_eq!(attack("cw-l2", &mut faults).0, "cw-l2");
        assert_eq!(attack(" pgd = { steps = 7 }", &mut faults), ("pgd", Some(7)));
        assert_eq!(attack("pgd.steps = 8", &mut faults), ("pgd", Some(8)));
        assert_eq!(attack("{ pgd = { steps = 9 } }", &mut faults), ("pgd", Some(9)));
        for (text, length) in [("8/255", 8.0 / 255.0), ("0.03", 0.03), ("\"2/255\"", 2.0 / 255.0), ("1", 1.0)]
        {
            assert_eq!(read::<Distance>("eps", text, &mut faults).map(Distance::get), Some(length));
        }
        assert_eq!(read::<Norm>("norm", "l2", &mut faults), Some(Norm::L2));
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn faults_name_option_and_place() {
        let told = fault::<Chosen<dyn Attack>>("attack", "pgd = { stpes = 5, restart = 2 }");
        assert!(told.starts_with(
            "--attack pgd = { stpes = 5, restart = 2 }: unknown field `stpes`; did you mean `steps`?"
        ));
        assert!(told.contains("\n  at attack.pgd.stpes\n--attack pgd"), "{told}");
        assert!(told.ends_with("\n  at attack.pgd.restart"), "{told}");
        let broken = fault::<Chosen<dyn Attack>>("attack", "pgd = { steps = }");
        assert!(
            broken.starts_with("--attack pgd = { steps = }: ") && !broken.contains("unknown"),
            "{broken}"
        );
        assert_eq!(fault::<Distance>("eps", "1\n2"), "--eps 1\n2: a value stands on one line");
        assert!(
            fault::<Distance>("eps", "-1")
                .starts_with("--eps -1: invalid value: integer `-1`, expected a length")
        );
        assert!(
            fault::<Norm>("norm", "l1")
                .starts_with("--norm l1: unknown variant `l1`, expected `linf` or `l2`")
        );
        // More than one value.
        let two = fault::<Chosen<dyn Attack>>("attack", "{ pgd = {}, fgsm = {} }");
        assert!(two.contains("more than one attack: `fgsm` and `pgd`"), "{two}");
    }
}
