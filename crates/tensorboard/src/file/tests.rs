use std::time::Duration;

use super::*;
use crate::read::{Content, Message, doubles, events, field, inner};

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

fn bytes(text: &str) -> Content {
    Content::Bytes(text.into())
}

/// Step and value of an event.
fn value(event: &Message) -> (u64, Message) {
    match field(event, 2) {
        Content::Number(step) => (*step, inner(&inner(event, 5), 1)),
        content => panic!("a step of {content:?}"),
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The beginning of an RGB file of 3 x 2 pixels.
fn header(color: u8) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08"[..], &[color], b"\0\0\0rest"].concat()
}

#[test]
fn a_file_begins_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let file = EventFile::create_at(&folder.path().join("new/folder"), Some(at(1_700_000_000.5))).unwrap();
    assert!(file.path().ends_with("new/folder/events.out.tfevents.1700000000.temper"));
    let version = vec![(1, Content::Double(1_700_000_000.5)), (3, bytes("brain.Event:2"))];
    assert_eq!(events(file.path()), [version]);
}

#[test]
fn every_kind_of_value_is_in_the_file_after_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create_at(folder.path(), Some(at(50.0))).unwrap();
    let last = |file: &EventFile| events(file.path()).pop().unwrap();

    file.scalar("loss/train", 300, 0.1).unwrap();
    assert_eq!(field(&last(&file), 1), &Content::Double(50.0));
    let scalar = vec![(1, bytes("loss/train")), (2, Content::Float(0.1))];
    assert_eq!(value(&last(&file)), (300, scalar));

    file.set_time(Some(at(60.25)));
    file.histogram("radii", 0, &[0.0, 1.0, 1.0, 30.0]).unwrap();
    assert_eq!(field(&last(&file), 1), &Content::Double(60.25));
    let (step, histogram) = value(&last(&file));
    assert_eq!((step, field(&histogram, 1)), (0, &bytes("radii")));
    let histogram = inner(&histogram, 5);
    for (number, expected) in (1..).zip([0.0, 30.0, 4.0, 32.0, 902.0]) {
        assert_eq!(field(&histogram, number), &Content::Double(expected));
    }
    let (limits, counts) = (doubles(&histogram, 6), doubles(&histogram, 7));
    assert_eq!((limits.len(), limits[29], counts.len()), (30, 30.0, 30));
    assert_eq!((counts[0], counts[1], counts[29], counts.iter().sum::<f64>()), (1.0, 2.0, 1.0, 4.0));

    file.image("images", 2, &header(2)).unwrap();
    let (step, image) = value(&last(&file));
    assert_eq!((step, field(&image, 1)), (2, &bytes("images")));
    let sizes = (1..).zip([2, 3, 3]).map(|(field, size)| (field, Content::Number(size)));
    assert_eq!(inner(&image, 4), sizes.chain([(4, Content::Bytes(header(2)))]).collect::<Message>());

    assert_eq!(events(file.path()).len(), 4);
    assert_eq!(fs::metadata(file.path()).unwrap().len(), file.length);
}

#[test]
fn scalars_keep_zero_nan_and_infinities() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create(folder.path()).unwrap();
    for scalar in [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        file.scalar("loss", 1, scalar).unwrap();
        let (_, read) = value(&events(file.path()).pop().unwrap());
        let Content::Float(read) = field(&read, 2) else { panic!("{read:?}") };
        assert_eq!(read.to_bits(), (scalar as f32).to_bits());
    }
}

#[test]
fn the_time_is_that_of_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let before = seconds(SystemTime::now());
    let mut file = EventFile::create(folder.path()).unwrap();
    file.set_time(Some(at(5.0)));
    file.set_time(None);
    file.scalar("loss", 1, 1.0).unwrap();
    let after = seconds(SystemTime::now());
    for event in events(file.path()) {
        let Content::Double(time) = field(&event, 1) else { panic!("{event:?}") };
        assert!((before..=after).contains(time), "{before} {time} {after}");
    }
    assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(1)), 0.0);
}

#[test]
fn refused_values_leave_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create_at(folder.path(), Some(at(7.0))).unwrap();
    let whole = fs::read(file.path()).unwrap();
    let mut told = vec![];
    for values in [&[][..], &[1.0, f64::NAN]] {
        told.push(file.histogram("radii", 1, values).unwrap_err().to_string());
    }
    let mut huge = header(2);
    huge[16] = 0x80;
    for png in [&b"GIF89a"[..], &header(2)[..20], &header(1), &huge] {
        told.push(file.image("x", 1, png).unwrap_err().to_string());
    }
    let none = "`x`: bytes that are not a PNG file";
    let expected = [
        "`radii`: a histogram of no values, expected at least one: leave it out",
        "`radii`: value 2 of 2 is NaN, expected finite numbers: leave out such values, and count them as a scalar",
        none,
        none,
        none,
        none,
    ];
    let name = file.path().display();
    assert_eq!(told, expected.map(|what| format!("{name}: {what}")));
    assert_eq!(fs::read(file.path()).unwrap(), whole);
    for (color, channels) in [(0, 1), (2, 3), (3, 3), (4, 2), (6, 4)] {
        assert_eq!(png_size(&header(color)), Some([3, 2, channels]));
    }
}

#[test]
fn a_new_file_replaces_earlier_ones_of_ours_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let strangers = [
        "events.out.tfevents.1700000000.host.7.0",
        "events.out.tfevents.1700000000.host.temper",
        "events.out.tfevents..temper",
        "events.out.tfevents.1700000000.temper.part",
        "events.out.tfevents.+170000000.temper",
        "metrics.jsonl",
        "my.events.out.tfevents.1700000000.temper",
    ];
    for name in strangers {
        fs::write(folder.path().join(name), b"theirs").unwrap();
    }
    fs::create_dir(folder.path().join("events.out.tfevents.1800000000.temper")).unwrap();
    let with = |own: &str| {
        let mut names: Vec<String> = strangers.map(String::from).into();
        names.extend(["events.out.tfevents.1800000000.temper".into(), own.into()]);
        names.sort();
        names
    };
    // The second file is made within the same second, the third when the clock was set back.
    for (now, seconds) in
        [(1_700_000_100.0, "1700000100"), (1_700_000_100.9, "1700000101"), (9.0, "1700000102")]
    {
        let mut file = EventFile::create_at(folder.path(), Some(at(now))).unwrap();
        file.scalar("loss", 1, 2.0).unwrap();
        assert_eq!(names(folder.path()), with(&format!("events.out.tfevents.{seconds}.temper")));
        assert_eq!(events(file.path()).len(), 2);
    }
    for name in strangers {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"theirs");
    }
}

#[test]
fn failures_name_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let told = EventFile::create(&file).unwrap_err().to_string();
    assert!(told.starts_with(&format!("cannot write events to {}: ", file.display())), "{told}");
    assert!(told.ends_with("\n  make the folder writable, or free space on its disk"), "{told}");

    let mut events = EventFile::create_at(folder.path(), Some(at(7.0))).unwrap();
    let whole = fs::read(events.path()).unwrap();
    events.file = File::open(events.path()).unwrap();
    let told = events.scalar("loss", 1, 2.0).unwrap_err().to_string();
    assert!(told.starts_with(&format!("cannot write events to {}: ", events.path().display())), "{told}");
    assert_eq!((fs::read(events.path()).unwrap(), events.length), (whole.clone(), whole.len() as u64));
}

#[test]
fn clearing_a_folder_removes_our_files_and_leaves_others() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("run");
    EventFile::create(&own).unwrap();
    assert!(EventFile::is_in(&own));
    EventFile::clear(&own).unwrap();
    assert!(!own.exists() && !EventFile::is_in(&own));
    EventFile::clear(&own).unwrap();
    EventFile::create(&own).unwrap();
    fs::write(own.join("events.out.tfevents.1.other"), "").unwrap();
    EventFile::clear(&own).unwrap();
    assert_eq!(names(&own), ["events.out.tfevents.1.other"]);
}
