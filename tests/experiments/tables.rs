//! `temper reproduce`: every pipeline that a table composes is sound, and a table runs, is killed, goes on,
//! and is judged.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use temper_experiments::claim::Verdict;
use temper_experiments::compose::{Book, Version};
use temper_experiments::fragment::Reading;
use temper_experiments::statistics::Estimate;
use temper_experiments::table::{Row, Scale, TableFile, names};
use temper_experiments::{Options, page, plan};
use temper_results::RadiiFile;

use crate::support::{command, json, root, stderr, stdout};

fn tables() -> Vec<TableFile> {
    let folder = root().join("configs/tables");
    names(&folder).unwrap().iter().map(|name| TableFile::read(&folder, name).unwrap()).collect()
}

fn book() -> Book {
    Book::read(&root().join("configs/recipes")).unwrap()
}

fn versions(table: &TableFile) -> impl Iterator<Item = Version<'_>> {
    let readings = [Reading::Paper, Reading::AuthorsCode];
    table
        .scales
        .iter()
        .flat_map(move |scale| readings.map(|reading| Version { table, scale: *scale, reading }))
}

#[test]
fn every_table_and_figure_is_there() {
    let names: Vec<String> = tables().into_iter().map(|table| table.name).collect();
    let figures = ["figure2", "figure3", "figure3b", "figure4", "figure4b", "figure7", "figure8", "figure9"];
    let wanted = figures.map(String::from).into_iter().chain((1..=9).map(|i| format!("table{i}")));
    assert_eq!(names, wanted.collect::<Vec<_>>());
}

/// What the paper prints bears out what it claims, or the inequality is not its claim.
#[test]
fn claims_hold_of_the_papers_own_numbers() {
    let mut judged = 0;
    for table in &tables() {
        let paper = |row: &str, column: &str| {
            table.row(row).unwrap().expected.get(column).copied().map(Estimate::exact)
        };
        for claim in &table.claim {
            match claim.judge(&paper).verdict {
                Verdict::Holds => judged += 1,
                // Figures print no numbers, and AutoAttack came after the paper.
                Verdict::NotJudged(_) => {
                    let printed = !claim.columns().any(|column| column == "autoattack");
                    assert!(table.name.starts_with("figure") || !printed, "{}: {}", table.name, claim.what);
                }
                verdict => panic!("{}: {}: {verdict}", table.name, claim.what),
            }
        }
    }
    assert!(judged > 30, "only {judged} claims");
}

/// `same_as` is true: both rows train the same network, in every version that has both.
#[test]
fn shared_rows_are_trained_alike() {
    let (book, tables) = (book(), tables());
    let mut shared = 0;
    for table in &tables {
        for row in &table.row {
            let Some((owner, name)) = row.elsewhere().unwrap() else { continue };
            let owner = tables.iter().find(|table| table.name == owner).unwrap();
            let other = owner.row(name).unwrap();
            assert!(other.same_as.is_none(), "{}: {} is not where it is trained", table.name, row.name);
            for version in versions(table) {
                let theirs = Version { table: owner, ..version };
                assert_eq!(
                    book.training(version, row, 0).unwrap(),
                    book.training(theirs, other, 0).unwrap(),
                    "{} {}: {}",
                    table.name,
                    version.part(),
                    row.name
                );
                shared += 1;
            }
        }
    }
    assert!(shared > 50, "only {shared}");
}

/// Hyper-parameters of table 10, and how far radii can go at the scale `cpu`: beta gamma E / start, 4.6 in the paper.
#[test]
fn recipes_are_the_papers_and_radii_reach_as_far() {
    let (book, tables) = (book(), tables());
    let table = tables.iter().find(|table| table.name == "table1").unwrap();
    let train = |scale, row: &Row| {
        let version = Version { table, scale, reading: Reading::Paper };
        book.training(version, row, 0).unwrap()["train"].clone()
    };
    let length = |value: &toml::Value| {
        let (a, b) = value.as_str().unwrap().split_once('/').unwrap();
        a.parse::<f64>().unwrap() / b.parse::<f64>().unwrap()
    };
    for (row, epochs, warmup, decay) in [("resnet18/iaat", 200, 5, 2e-4), ("wrn-32-10/iaat", 110, 10, 5e-4)] {
        let row = table.row(row).unwrap();
        for scale in [Scale::Paper, Scale::Cpu, Scale::CpuFashion] {
            let train = train(scale, row);
            let adaptive = &train["epsilon"]["instance-adaptive"];
            let visits = train["epochs"].as_integer().unwrap() - adaptive["warmup"].as_integer().unwrap();
            let step = adaptive["beta"].as_float().unwrap() * length(&adaptive["gamma"]);
            let reach = step * visits as f64 / length(&adaptive["start"]);
            // The WRN of the paper has half the epochs.
            let want = if scale == Scale::Paper && epochs == 110 { 2.4 } else { 4.6 };
            assert!((reach - want).abs() < 0.1, "{} at {}: {reach}", row.name, scale.name());
        }
        let train = train(Scale::Paper, row);
        assert_eq!(train["epochs"].as_integer(), Some(epochs));
        assert_eq!(train["epsilon"]["instance-adaptive"]["warmup"].as_integer(), Some(warmup));
        assert_eq!(train["optimizer"]["weight_decay"].as_float(), Some(decay));
        assert_eq!(train["attack"]["pgd"]["steps"].as_integer(), Some(10));
    }
}

/// Table 11: steps of 1/255 within 16/255, whichever way the reading says it.
#[test]
fn imagenet_is_attacked_in_steps_of_one() {
    let (book, tables) = (book(), tables());
    for table in tables.iter().filter(|table| ["table4", "figure9"].contains(&table.name.as_str())) {
        for reading in [Reading::Paper, Reading::AuthorsCode] {
            let version = Version { table, scale: Scale::Paper, reading };
            let attacked = table.row.iter().filter(|row| row.recipe != "clean");
            for row in attacked {
                let train = book.training(version, row, 0).unwrap()["train"].clone();
                let pgd = &train["attack"]["pgd"];
                assert_eq!((pgd["steps"].as_integer(), pgd["step"].as_str()), (Some(30), Some("1/255")));
                let relative = pgd.get("relative_step").map_or(0.0, |step| step.as_float().unwrap());
                assert!(relative * 16.0 <= 1.0, "{} {}: {relative}", table.name, row.name);
                assert_eq!(reading == Reading::AuthorsCode, relative > 0.0, "{}", table.name);
            }
        }
    }
}

fn options(experiment: &str, only: &[&str]) -> Options {
    Options {
        experiment: experiment.into(),
        scale: Scale::Smoke,
        reading: Reading::Paper,
        only: only.iter().map(ToString::to_string).collect(),
        seeds: NonZeroU32::MIN,
        dry_run: false,
        configs: Some(root().join("configs")),
    }
}

/// Runs `temper reproduce` in a folder; returns its verdict or what is wrong, and what it said.
fn reproduce(folder: &Path, options: &Options) -> (Result<bool, String>, String) {
    let mut command = command(folder);
    command.args(["reproduce", &options.experiment, "--scale", options.scale.name()]);
    command.args(["--seeds", &options.seeds.to_string()]);
    command.args(options.only.iter().flat_map(|row| ["--only", row]));
    command.args(options.dry_run.then_some("--dry-run"));
    command.arg("--configs").arg(options.configs.as_ref().unwrap());
    let output = command.output().unwrap();
    let fault = stderr(&output);
    let result = match (output.status.code(), fault.strip_prefix("error: ")) {
        (Some(0), _) => Ok(true),
        (Some(1), None) => Ok(false),
        (_, fault) => Err(fault.unwrap_or_default().trim_end().to_string()),
    };
    (result, stdout(&output))
}

/// The section of a page whose heading names this table.
fn section_of<'p>(page: &'p str, table: &str) -> Option<&'p str> {
    let heading = format!("{table}: ");
    page.split("<h2 ").find(|part| part.split_once('>').is_some_and(|(_, text)| text.starts_with(&heading)))
}

#[test]
fn a_table_runs_is_killed_goes_on_and_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let rows = ["resnet18/adversarial", "resnet18/iaat"];
    let wanted = options("table1", &rows);
    let dry = Options { dry_run: true, ..options("table1", &rows) };
    let (planned, said) = reproduce(folder.path(), &dry);
    assert_eq!(planned, Ok(true));
    assert!(said.contains("table1 at smoke scale") && said.contains("0 of 1"), "{said}");
    // Both rows have one network, which the binary was timed on.
    assert!(said.contains("resnet18: ") && said.contains("ms a pass of an attack"), "{said}");
    assert!(said.contains(" are left, at most, and about "), "{said}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "a dry run left something");

    a_network_to_craft_on_is_killed(folder.path(), &wanted);
    let (verdict, said) = reproduce(folder.path(), &wanted);
    let verdict = verdict.unwrap();
    assert!(said.contains("resnet18/adversarial, seed 1: to craft on"), "{said}");
    let report = json(&folder.path().join("reports/smoke/table1.json"));
    let failed = report["claims"].as_array().unwrap().iter().any(|claim| claim["ours"]["verdict"] == "fails");
    assert_eq!(verdict, !failed);
    let row = |name: &str| {
        report["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    };
    for name in rows {
        let row = row(name);
        for column in ["natural", "pgd10", "pgd100", "pgd1000", "transfer", "corruption"] {
            let cell = &row["cells"][column];
            let (ours, n) = (cell["ours"].as_f64().unwrap(), cell["n"].as_u64().unwrap());
            let [low, high] = [0, 1].map(|end| cell["interval"][end].as_f64().unwrap());
            assert!(
                low <= ours && ours <= high && n == 200 && cell["paper"].is_f64(),
                "{name} {column}: {cell}"
            );
        }
        // The report's number is that of the run's own results.
        let results =
            json(&folder.path().join(format!("runs/reproduce/table1/smoke/{name}/seed-0/results.json")));
        let natural = results["evaluations"][0]["accuracy"].as_f64().unwrap() * 100.0;
        assert_eq!(row["cells"]["natural"]["ours"].as_f64(), Some(natural));
        let crafted =
            results["evaluations"].as_array().unwrap().iter().find(|e| e["name"] == "transfer").unwrap();
        assert_eq!(crafted["surrogate"], format!("runs/reproduce/table1/smoke/{name}/seed-1"));
        let cost = &row["runs"][0]["cost"];
        assert!(
            cost["disk_bytes"].as_u64() > Some(1000)
                && cost["training_backwards_per_image"].as_f64() > Some(1.0)
        );
        assert!(row["runs"][0]["versions"]["temper"].is_string());
    }
    // All three claims on these rows are judged image by image, which is sharper than two intervals apart.
    let ends = |value: &serde_json::Value| [0, 1].map(|end| value["interval"][end].as_f64().unwrap());
    for (claim, column) in [(0, "natural"), (1, "pgd1000"), (2, "corruption")] {
        let ours = ends(&report["claims"][claim]["ours"]);
        let [a, b] = rows.map(|name| ends(&row(name)["cells"][column]));
        let apart = [(a[1] - a[0]) / 2.0, (b[1] - b[0]) / 2.0];
        assert!(ours[1] - ours[0] < 2.0 * apart[0].hypot(apart[1]), "{column}: {ours:?} {a:?} {b:?}");
    }
    assert_eq!(row("resnet18/clean")["runs"], serde_json::json!([]));
    let markdown = fs::read_to_string(folder.path().join("reports/smoke/table1.md")).unwrap();
    assert!(markdown.contains("| resnet18/iaat | natural | 87.26 |"), "{markdown}");
    assert!(markdown.contains("Not run: resnet18/clean, wrn-32-10/clean"), "{markdown}");
    let machine = &report["rows"][1]["runs"][0]["machine"];
    let sentence =
        format!("\nRun on {} threads of {}", machine["threads"], machine["processor"].as_str().unwrap());
    assert!(markdown.contains(&sentence), "{markdown}");

    // What is finished is left alone; a table with the same network takes it as it is, and only judges it.
    let file = folder.path().join("runs/reproduce/table1/smoke/resnet18/iaat/seed-0/model.safetensors");
    let model = || fs::read(&file).unwrap();
    let before = model();
    let (_, said) = reproduce(folder.path(), &wanted);
    assert!(said.contains("resnet18/adversarial, seed 0: done\nresnet18/iaat, seed 0: done"), "{said}");
    // Of what was run the plan knows time and disk.
    let (_, plan) = reproduce(folder.path(), &dry);
    assert!(plan.contains("1 of 1") && plan.contains("about 0 s are left"), "{plan}");
    what_is_there_no_more_is_not_done(folder.path(), &dry, &wanted);
    let (shared, said) = reproduce(folder.path(), &options("figure8", &[]));
    shared.unwrap();
    assert!(said.contains("radius p95"), "{said}");
    assert_eq!(model(), before);
    let report = json(&folder.path().join("reports/smoke/figure8.json"));
    assert_eq!(report["rows"][0]["folder"], "runs/reproduce/table1/smoke/resnet18/iaat");
    assert!(report["rows"][0]["cells"]["radius p95"]["ours"].as_f64() > Some(0.0));
    let share = |name: &str| report["rows"][0]["cells"][name]["ours"].as_f64().unwrap();
    let run = folder.path().join("runs/reproduce/table1/smoke/resnet18/iaat/seed-0");
    let radii = RadiiFile::of(&run).unwrap().pop().unwrap().read().unwrap().radii;
    let counted = |such: &dyn Fn(&f64) -> bool| {
        radii.iter().filter(|radius| such(radius)).count() as f64 * 100.0 / radii.len() as f64
    };
    assert!((share("above 10") - counted(&|radius| radius * 255.0 > 10.001)).abs() < 1e-9, "{report}");
    assert!((share("below 8") - counted(&|radius| radius * 255.0 < 7.999)).abs() < 1e-9, "{report}");
    assert!(share("above 10") + share("below 8") > 0.0, "no radius moved: this shows nothing");
    fewer_seeds_are_no_reason_to_forget_some(folder.path());
    pictures_of_what_was_run_are_on_one_page(folder.path());
}

/// That of the first row, as soon as it has a checkpoint.
fn a_network_to_craft_on_is_killed(folder: &Path, wanted: &Options) {
    let (tables, book) = (tables(), book());
    let table = tables.iter().find(|table| table.name == "table1").unwrap();
    let version = Version { table, scale: Scale::Smoke, reading: Reading::Paper };
    let plans = plan::rows(&book, version, &wanted.only, 1).unwrap();
    let (seed, pipeline) = plans[0].runs[0].second.as_ref().unwrap();
    fs::write(folder.join("killed.toml"), toml::to_string(pipeline).unwrap()).unwrap();
    let out = plans[0].run(*seed);
    let mut child = command(folder)
        .args(["run", "killed.toml", "--out", out.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.join(&out).join("checkpoint.safetensors").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join(&out).join("model.safetensors").exists(), "it ended before it could be killed");
}

/// Networks that went, pipelines that changed, records that another build replaced.
fn what_is_there_no_more_is_not_done(folder: &Path, dry: &Options, wanted: &Options) {
    let row = folder.join("runs/reproduce/table1/smoke/resnet18/iaat");
    let planned = || reproduce(folder, dry).1;
    let line = |plan: &str| plan.lines().find(|line| line.contains("resnet18/iaat")).unwrap().to_string();
    let [network, away] = ["seed-0/model.safetensors", "away"].map(|name| row.join(name));
    fs::rename(&network, &away).unwrap();
    assert!(line(&planned()).contains("0 of 1"), "{}", planned());
    fs::rename(&away, &network).unwrap();
    let file = row.join("seed-0.table1.toml");
    let pipeline = fs::read_to_string(&file).unwrap();
    fs::write(&file, pipeline.replace("epochs = ", "epochs = 1")).unwrap();
    assert!(line(&planned()).contains("0 of 1"), "{}", planned());
    fs::write(&file, pipeline).unwrap();
    assert!(line(&planned()).contains("1 of 1"), "{}", planned());

    // The run's own records may go: each table has its copy.
    let apart = || {
        reproduce(folder, wanted).0.unwrap();
        json(&folder.join("reports/smoke/table1.json"))["claims"][0]["ours"]["apart"].clone()
    };
    let records = row.join("seed-0/records.jsonl");
    let kept = fs::read(&records).unwrap();
    fs::write(&records, "").unwrap();
    assert_eq!(apart(), false);
    let copy = row.join("seed-0.table1.records.jsonl");
    fs::remove_file(&copy).unwrap();
    assert_eq!(apart(), true);
    let markdown = fs::read_to_string(folder.join("reports/smoke/table1.md")).unwrap();
    assert!(markdown.contains("Not image by image where a * stands"), "{markdown}");
    fs::write(&records, &kept).unwrap();
    fs::write(&copy, &kept).unwrap();
}

fn fewer_seeds_are_no_reason_to_forget_some(folder: &Path) {
    let two = Options { seeds: NonZeroU32::new(2).unwrap(), ..options("figure7", &[]) };
    reproduce(folder, &two).0.unwrap();
    reproduce(folder, &options("figure7", &[])).0.unwrap();
    let report = json(&folder.join("reports/smoke/figure7.json"));
    assert_eq!(report["rows"][0]["runs"].as_array().unwrap().len(), 2);
    assert!(report["command"].as_str().unwrap().ends_with("--seeds 2"), "{report}");
}

/// Draws what tables want of networks that are there already, or train in a second.
fn pictures_of_what_was_run_are_on_one_page(folder: &Path) {
    let reports = folder.join("reports/smoke");
    // A row without radii among them.
    reproduce(folder, &options("table1", &["resnet18/clean"])).0.unwrap();
    for (experiment, only, pictures) in [
        ("figure3", &["fixed-8", "iaat"][..], 2),
        ("figure4", &["fixed-8", "iaat"], 1),
        ("figure7", &[], 1),
        ("table9", &["gamma-1.91/beta-0.10"], 2),
        ("figure2", &[], 2),
    ] {
        let (_, said) = reproduce(folder, &options(experiment, only));
        assert_eq!(said.matches("\ndrawn to ").count(), pictures, "{said}");
        let markdown = fs::read_to_string(reports.join(format!("{experiment}.md"))).unwrap();
        for i in 1..=pictures {
            let name = if i == 1 { experiment.to_string() } else { format!("{experiment}-{i}") };
            assert!(markdown.contains(&format!("]({name}.png)")), "{markdown}");
            let svg = fs::read_to_string(reports.join(format!("{name}.svg"))).unwrap();
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(fs::read(reports.join(format!("{name}.png"))).unwrap().starts_with(b"\x89PNG"));
        }
    }
    let read = |name: &str| fs::read_to_string(reports.join(name)).unwrap();
    let radii = read("figure8.md");
    assert!(
        radii.contains(" training images that ended with a radius above 0 and are right unperturbed, "),
        "{radii}"
    );
    // The images of figure 2: six of each kind, unperturbed, at two radii and at their own.
    for name in ["figure2.svg", "figure2-2.svg"] {
        assert_eq!(read(name).matches("<image ").count(), 24, "{name}");
    }
    let trade_off = read("figure3.md");
    assert!(trade_off.contains("Not run: fixed-1, fixed-2, "), "{trade_off}");
    let page = read("report.html");
    for (table, pictures) in [("table1", 0), ("figure2", 2), ("figure3", 2), ("figure8", 1), ("table9", 2)] {
        let section = section_of(&page, table).unwrap_or_else(|| panic!("no section of {table}"));
        assert_eq!(section.matches("<figure ").count(), pictures, "{table}");
    }
    assert_eq!(section_of(&page, "table5"), None, "a table that was not run has a section");
    // The verdicts come first.
    let first = page.split("<h2 ").nth(1).unwrap();
    assert!(first.starts_with("id=\"section-1\">Verdicts</h2>") && first.contains(">table1</th>"), "{first}");
    // The page is made of the reports: it needs none of the runs, and says which report it cannot read.
    let made = || page::page(&reports).map(|page| page.html()).map_err(|error| format!("{error:#}"));
    assert_eq!(made(), Ok(page.clone()));
    fs::write(reports.join("table0.json"), "{}").unwrap();
    let fault = made().unwrap_err();
    assert!(fault.contains("table0.json is no report of this temper; "), "{fault}");
    fs::remove_file(reports.join("table0.json")).unwrap();
    fs::remove_file(reports.join("figure8.svg")).unwrap();
    let fault = made().unwrap_err();
    assert!(fault.contains("figure8.svg; `temper reproduce figure8 --scale smoke "), "{fault}");
    assert!(!page.contains("<script") && !page.contains("src=\"http"));
}

#[test]
fn unknown_names_are_told_with_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let error = |options: &Options| reproduce(folder.path(), options).0.unwrap_err();
    let told = error(&options("table10", &[]));
    assert!(
        told.starts_with(
            "unknown experiment `table10`; did you mean `table1`? known: `quickstart`, `figure2`"
        ),
        "{told}"
    );
    let told = error(&options("table7", &["resnet18/iat"]));
    assert_eq!(
        told,
        "table7 has no row `resnet18/iat` at this scale; it has `resnet18/line-search`, `resnet18/iaat`"
    );
    let told = error(&Options { scale: Scale::Cpu, ..options("table4", &[]) });
    assert_eq!(told, "table4 has no scale `cpu`; it has `paper`, `smoke`");
    let told = error(&Options { scale: Scale::CpuFashion, ..options("table2", &[]) });
    assert_eq!(told, "table2 has no scale `cpu-fashion`; it has `paper`, `cpu`, `smoke`");
}
