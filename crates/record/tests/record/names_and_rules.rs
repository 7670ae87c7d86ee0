//! Names of files, constraints, line counts.

use simbdp_api::pipeline::{Compression, Format};
use simbdp_api::wire::config::BatchConstraints;
use simbdp_record::constraints::whole_match;
use simbdp_record::{FileName, FileRules, LineCounter};

use crate::support::matches;

#[test]
fn good_names() {
    let cases = [
        ("flights.csv", Format::Csv, Compression::None),
        ("flights.CSV.GZ", Format::Csv, Compression::Gzip),
        ("a b ä.ndjson.zst", Format::Ndjson, Compression::Zstd),
        ("a..b.jsonl", Format::Ndjson, Compression::None),
        ("gz.csv", Format::Csv, Compression::None),
    ];
    for (name, format, compression) in cases {
        let parsed = FileName::parse(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (parsed.as_str(), parsed.format(), parsed.compression()),
            (name, format, compression)
        );
    }
    assert!(FileName::parse(&format!("{}.csv", "x".repeat(251))).is_ok());
}

#[test]
fn bad_names_say_what_would_be_right() {
    let long = format!("{}.csv", "x".repeat(252));
    let cases = [
        ("", "the file has no name…"),
        (
            long.as_str(),
            "the name of the file has 256 bytes, at most 255…",
        ),
        (
            "../etc.csv",
            "`../etc.csv` is not the name of a file but a path…",
        ),
        ("a/b.csv", "`a/b.csv` is not the name of a file but a path…"),
        (
            "a\\b.csv",
            "`a\\b.csv` is not the name of a file but a path…",
        ),
        ("..", "`..` is not the name of a file but a path…"),
        (".", "`.` is not the name…"),
        (".csv", "`.csv` starts with a dot…"),
        (".hidden.csv", "`.hidden.csv` starts with a dot…"),
        ("a\0.csv", "`a\\u{0}.csv` has a control character…"),
        ("a\n.csv", "`a\\n.csv` has a control character…"),
        ("a\u{202e}vsc.csv", "…has a control character…"),
        ("flights", "`flights` does not tell a format: …"),
        ("flights.txt", "`flights.txt` does not tell a format: …"),
        ("flights.gz", "`flights.gz` does not tell a format: …"),
        ("flights.csv.", "`flights.csv.` does not tell a format: …"),
        (
            "flights.csv.gz.zst",
            "`flights.csv.gz.zst` is compressed twice…",
        ),
        (
            "flights.csv.zip",
            "`flights.csv.zip` is compressed with zip, which is not read: use gzip…",
        ),
        ("flights.csv.bz2", "…bzip2…"),
    ];
    for (name, wanted) in cases {
        let shown = FileName::parse(name).expect_err(name).to_string();
        assert!(matches(&shown, wanted), "{name:?}: {shown}");
    }
}

fn rules(name_pattern: Option<&str>) -> FileRules {
    let constraints = BatchConstraints {
        formats: vec![Format::Csv],
        compression: vec![Compression::None, Compression::Gzip],
        max_file_size: 100,
        max_files: None,
        tenant_max_files: None,
        name_pattern: name_pattern.map(str::to_owned),
        schedule: None,
    };
    FileRules::new(&constraints).unwrap()
}

#[test]
fn violations_are_all_named() {
    let rules = rules(Some("flights-[0-9]+[.]csv([.]gz)?"));
    let check = |name: &str, size| {
        let violations = rules.check(&FileName::parse(name).unwrap(), size);
        violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(check("flights-1.csv", Some(100)), Vec::<String>::new());
    assert_eq!(check("flights-1.csv.gz", None), Vec::<String>::new());
    assert_eq!(
        check("xflights-1.ndjson.zst", Some(101)),
        [
            "the format ndjson is not accepted here: use csv",
            "the compression zstd is not accepted here: use none or gzip",
            "the name `xflights-1.ndjson.zst` does not match `flights-[0-9]+[.]csv([.]gz)?`: the whole name must",
            "the file has 101 bytes uncompressed, but at most 100 are accepted: split it",
        ]
    );
    let streaming = rules.check_size(101, true).unwrap().to_string();
    assert_eq!(
        streaming,
        "the file has at least 101 bytes uncompressed, but at most 100 are accepted: split it"
    );
}

#[test]
fn a_pattern_matches_the_whole_name() {
    for (pattern, name, wanted) in [
        ("a|ab", "ab", true),
        ("a|b", "ab", false),
        ("a", "a\n", false),
        ("(?m)^a$", "a\nb", false),
        ("(?x) a b # comment", "ab", true),
        ("", "", true),
    ] {
        assert_eq!(
            whole_match(pattern).unwrap().is_match(name),
            wanted,
            "{pattern} on {name:?}"
        );
    }
    for pattern in ["(", "a)(b", "[z-a]", "((a{100}){100}){100}"] {
        let error = whole_match(pattern).expect_err(pattern).to_string();
        assert!(
            error.starts_with(&format!(
                "namePattern `{pattern}` is not a regular expression: "
            )),
            "{error}"
        );
    }
}

#[test]
fn lines_are_counted_wherever_the_stream_is_cut() {
    let cases: [(&[u8], u64); 10] = [
        (b"", 0),
        (b"a", 1),
        (b"a\n", 1),
        (b"a\nb", 2),
        (b"a\r\nb\r\n", 2),
        (b"a\rb\r", 2),
        (b"a\rb", 2),
        (b"\n\n\r\r\n\n", 5),
        (b"\r\n\r", 2),
        (b"\"a\r\nb\"\n", 2),
    ];
    for (input, wanted) in cases {
        for cut in 0..=input.len() {
            let mut counter = LineCounter::new();
            counter.push(&input[..cut]);
            counter.push(&[]);
            counter.push(&input[cut..]);
            assert_eq!(counter.lines(), wanted, "{input:?} cut at {cut}");
        }
    }
}
