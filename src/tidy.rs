//! The house rules as a test: who may import whom, what pure code may not name, how files begin and how long they are.
//!
//! Works on text: each file's lines before its `#[cfg(test)]` module, without comments and string contents. A rule
//! that is broken is told as `file:line: what`, all at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most lines of a file before its tests.
const LINES_MAX: usize = 300;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Vocabulary,
    Pure,
    Port,
    Loop,
    Adapter,
    /// Names and handles that loops and shell share.
    Metrics,
    Shell,
    /// Compiled for tests only, or the crate's root: may name all.
    Free,
}

/// The layer of a module path such as `pipeline/decode`, by its longest known beginning.
fn layer(module: &str) -> Option<Layer> {
    const ROOMS: &[(&str, Layer)] = &[
        ("model", Layer::Vocabulary),
        ("pipeline", Layer::Pure),
        ("pipeline/consumer", Layer::Loop),
        ("pipeline/desk", Layer::Loop),
        ("pipeline/fence", Layer::Loop),
        ("pipeline/reader", Layer::Loop),
        ("pipeline/writer", Layer::Loop),
        ("access", Layer::Pure),
        ("access/feed", Layer::Loop),
        ("lease", Layer::Pure),
        ("lease/coordinator", Layer::Loop),
        ("ports", Layer::Port),
        ("aws", Layer::Adapter),
        ("metrics", Layer::Metrics),
        ("app", Layer::Shell),
        ("main", Layer::Shell),
        ("cli", Layer::Shell),
        ("config", Layer::Shell),
        ("telemetry", Layer::Shell),
        ("admin", Layer::Shell),
        ("shutdown", Layer::Shell),
        ("lib", Layer::Free),
        ("sim", Layer::Free),
        ("oracle", Layer::Free),
        ("tidy", Layer::Free),
    ];
    let covers = |room: &str| {
        module == room
            || module
                .strip_prefix(room)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    ROOMS
        .iter()
        .filter(|(room, _)| covers(room))
        .max_by_key(|(room, _)| room.len())
        .map(|(_, layer)| *layer)
}

/// Whether a module of layer `from` may name one of layer `to`.
fn may_name(from: Layer, to: Layer) -> bool {
    use Layer::{Adapter, Free, Loop, Metrics, Port, Pure, Shell, Vocabulary};
    match from {
        Vocabulary => to == Vocabulary,
        Pure => matches!(to, Vocabulary | Pure),
        Port => to == Vocabulary,
        Metrics => matches!(to, Vocabulary | Port | Metrics),
        Loop => matches!(to, Vocabulary | Pure | Port | Metrics | Loop),
        Adapter => matches!(to, Vocabulary | Port | Metrics | Adapter),
        Shell | Free => to != Free,
    }
}

/// The floors, from the top. A module may name those of its own floor and below. Metrics count the faults of `ports`
/// and so stand beside them.
const FLOORS: &[&[&str]] = &[
    &["main", "cli", "app", "lease", "pipeline", "access"],
    &["admin"],
    &["telemetry"],
    &["aws"],
    &["metrics"],
    &["ports"],
    &["model"],
    &["config"],
    &["shutdown"],
];

fn floor(module: &str) -> Option<usize> {
    let room = module.split('/').next().unwrap_or(module);
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What code of a layer may not name.
fn banned(layer: Layer) -> &'static [&'static str] {
    match layer {
        Layer::Vocabulary | Layer::Pure => &[
            "tokio",
            "tracing::",
            "aws_",
            "metrics::",
            "Instant::now",
            "SystemTime::now",
            "Timestamp::now",
            "Zoned::now",
            "fastrand",
            ".await",
        ],
        Layer::Port => &["tracing::", "aws_", "metrics::", "fastrand"],
        Layer::Loop => &["aws_", "SystemTime::now", "std::time::Instant"],
        Layer::Metrics => &["tokio", "aws_"],
        Layer::Adapter | Layer::Shell | Layer::Free => &[],
    }
}

/// A Rust file under `src/`.
struct Source {
    /// From the repository's root.
    path: PathBuf,
    /// `pipeline/decode`; a folder's `mod.rs` is the folder.
    module: String,
    text: String,
}

impl Source {
    /// Lines before the tests with their numbers, without comments and without what is quoted.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.before_tests()
            .map(|(number, line)| (number, without_prose(line)))
    }

    fn before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<_> = self.text.lines().collect();
        let is_test_module = |index: usize| {
            lines[index].trim() == "#[cfg(test)]"
                && lines
                    .get(index + 1)
                    .is_some_and(|next| next.trim_start().starts_with("mod tests"))
        };
        let end = (0..lines.len())
            .find(|index| is_test_module(*index))
            .unwrap_or(lines.len());
        lines
            .into_iter()
            .take(end)
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    fn is_test_only(&self) -> bool {
        let room = self.module.split('/').next();
        self.module.ends_with("/tests") || matches!(room, Some("sim" | "oracle" | "tidy"))
    }
}

/// The line up to `//`, with everything between quotes gone. Good for the lines of this crate: a quote inside a char
/// literal or a string over several lines would only make the rules look at less.
fn without_prose(line: &str) -> String {
    let mut code = String::new();
    let mut letters = line.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => {
                letters.next();
            }
            '\'' if letters.peek() == Some(&'"') => {
                letters.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && letters.peek() == Some(&'/') => break,
            _ if !quoted => code.push(letter),
            _ => {}
        }
    }
    code
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path
                    .strip_prefix(root().join("src"))
                    .expect("below src")
                    .with_extension("");
                let module = inside.to_string_lossy().trim_end_matches("/mod").to_owned();
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push(Source {
                    path: path.strip_prefix(root()).expect("below").to_owned(),
                    module,
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The modules that a file names by `crate::…`, with the line. Lists in braces are opened, over several lines too.
fn named_modules(source: &Source) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in source.code() {
        starts.push((text.len(), number));
        text.push_str(&line);
        text.push(' ');
    }
    for (at, _) in text.match_indices("crate::") {
        let line = starts
            .iter()
            .rev()
            .find(|(start, _)| *start <= at)
            .map_or(0, |(_, number)| *number);
        paths(
            &text[at + "crate::".len()..],
            &mut String::new(),
            &mut |path| named.push((line, path)),
        );
    }
    named
}

/// Walks one path expression such as `a::{b, c::{d, e}}` and tells each leaf as `a/b`; returns what follows it.
fn paths<'t>(text: &'t str, above: &mut String, tell: &mut impl FnMut(String)) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {
                    let before = rest.len();
                    rest = paths(rest, &mut above.clone(), tell);
                    if rest.len() == before {
                        return rest;
                    }
                }
            }
        }
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if !above.is_empty() && !word.is_empty() {
        above.push('/');
    }
    above.push_str(word);
    if let Some(below) = rest.strip_prefix("::") {
        return paths(below, above, tell);
    }
    tell(above.clone());
    let rest = rest.trim_start();
    rest.strip_prefix("as ").map_or(rest, |alias| {
        let end = alias.find([',', '}', ';']).unwrap_or(alias.len());
        &alias[end..]
    })
}

#[track_caller]
fn none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_module_names_one_that_its_layer_may_not() {
    let mut broken = Vec::new();
    for source in sources() {
        let from = layer(&source.module);
        let Some(from) = from else {
            broken.push(format!(
                "{}: this module has no layer; give it one in tidy.rs",
                source.path.display()
            ));
            continue;
        };
        for (line, path) in named_modules(&source) {
            let to = layer(&path);
            let allowed = source.is_test_only() || to.is_none_or(|to| may_name(from, to));
            let up = floor(&source.module)
                .zip(floor(&path))
                .is_some_and(|(from, to)| to < from);
            let place = format!("{}:{line}", source.path.display());
            if !allowed {
                broken.push(format!(
                    "{place}: {from:?} may not name crate::{}",
                    path.replace('/', "::")
                ));
            } else if up && from != Layer::Free && !source.is_test_only() {
                broken.push(format!(
                    "{place}: crate::{} is on a floor above",
                    path.replace('/', "::")
                ));
            }
        }
    }
    none(broken);
}

#[test]
fn no_two_rooms_name_each_other() {
    let room = |module: &str| module.split('/').next().unwrap_or(module).to_owned();
    let mut names = std::collections::BTreeSet::new();
    for source in sources()
        .iter()
        .filter(|source| !source.is_test_only() && layer(&source.module) != Some(Layer::Free))
    {
        let from = room(&source.module);
        names.extend(
            named_modules(source)
                .iter()
                .map(|(_, path)| (from.clone(), room(path))),
        );
    }
    let back =
        |(from, to): &&(String, String)| from < to && names.contains(&(to.clone(), from.clone()));
    none(
        names
            .iter()
            .filter(back)
            .map(|(from, to)| format!("{from} and {to} name each other"))
            .collect(),
    );
}

#[test]
fn no_module_names_what_its_layer_must_not_know() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test_only()) {
        let words = layer(&source.module).map_or(&[][..], banned);
        for (number, line) in source.code() {
            let own = line.replace("crate::metrics::", "");
            for word in words.iter().filter(|word| own.contains(**word)) {
                broken.push(format!(
                    "{}:{number}: {word} in this layer: {}",
                    source.path.display(),
                    line.trim()
                ));
            }
        }
    }
    none(broken);
}

#[test]
fn only_the_adapters_name_the_sdk_and_only_metrics_its_macros() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test_only()) {
        let is_adapter = matches!(layer(&source.module), Some(Layer::Adapter));
        let is_metrics = matches!(layer(&source.module), Some(Layer::Metrics));
        for (number, line) in source.code() {
            let place = format!("{}:{number}", source.path.display());
            if !is_adapter && line.contains("aws_sdk_") {
                broken.push(format!("{place}: only src/aws names the SDK"));
            }
            if !is_metrics
                && ["counter!(", "gauge!(", "histogram!("]
                    .iter()
                    .any(|name| line.contains(name))
            {
                broken.push(format!("{place}: only src/metrics names series"));
            }
        }
    }
    none(broken);
}

#[test]
fn files_begin_with_what_they_are_and_end_in_time() {
    let mut broken = Vec::new();
    for source in sources() {
        let path = source.path.display();
        if !source.text.starts_with("//!") && !source.module.ends_with("/tests") {
            broken.push(format!("{path}:1: begins without //!"));
        }
        let length = source.before_tests().count();
        let excused = LONGER
            .iter()
            .any(|(file, _)| source.path == Path::new(file));
        if length > LINES_MAX && !excused && !source.is_test_only() {
            broken.push(format!(
                "{path}: {length} lines before its tests, at most {LINES_MAX}"
            ));
        }
        let name = source
            .path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        if [
            "util", "utils", "common", "manager", "helper", "helpers", "misc", "prelude",
        ]
        .contains(&name.as_str())
        {
            broken.push(format!("{path}: a name that says nothing"));
        }
    }
    none(broken);
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.module != "tidy") {
        for (index, line) in source.text.lines().enumerate() {
            let code = without_prose(line);
            for word in ["#[ignore", "todo!(", "unimplemented!(", "dbg!("] {
                if code.contains(word) {
                    broken.push(format!("{}:{}: {word}", source.path.display(), index + 1));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn the_daemon_depends_on_no_stand_in() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let mut seen = vec!["swiped".to_owned()];
    let mut next = 0;
    while let Some(name) = seen.get(next).cloned() {
        next += 1;
        for depended in dependencies(&lock, &name) {
            if !seen.contains(&depended) {
                seen.push(depended);
            }
        }
    }
    assert!(seen.len() > 50, "the walk found the tree: {seen:?}");
    let banned = [
        "dynoxide-rs",
        "rusqlite",
        "ferrokinesis",
        "axum",
        "aws-lc-sys",
        "aws-lc-rs",
        "openssl-sys",
    ];
    let found: Vec<_> = seen
        .iter()
        .filter(|name| banned.contains(&name.as_str()))
        .collect();
    assert!(found.is_empty(), "the daemon's tree holds {found:?}");
}

/// What every version of a package in the lock file depends on, by name.
fn dependencies(lock: &str, name: &str) -> Vec<String> {
    let wanted = format!("name = \"{name}\"");
    let entries = lock
        .split("[[package]]")
        .filter(|entry| entry.lines().any(|line| line == wanted));
    let listed =
        entries.flat_map(|entry| entry.split_once("dependencies = [").map(|(_, list)| list));
    listed
        .flat_map(|list| {
            list.lines()
                .filter_map(|line| line.trim().strip_prefix('"'))
        })
        .filter_map(|line| line.split(['"', ' ']).next().map(str::to_owned))
        .collect()
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let source = Source {
        path: PathBuf::from("x.rs"),
        module: "x".to_owned(),
        text:
            "use crate::{\n    model::{card::CardStatus, decision},\n    ports::Fault as F,\n};\n\
               // use crate::aws;\nfn f() { crate::metrics::ready(true); g(\"crate::admin\") }\n\
               #[cfg(test)]\nmod tests { use crate::sim; }\n"
                .to_owned(),
    };
    let named: Vec<_> = named_modules(&source)
        .into_iter()
        .map(|(line, path)| format!("{line} {path}"))
        .collect();
    assert_eq!(
        named,
        [
            "1 model/card/CardStatus",
            "1 model/decision",
            "1 ports/Fault",
            "6 metrics/ready"
        ]
    );
}

#[test]
fn layers_are_found_by_the_longest_name() {
    assert_eq!(layer("pipeline/decode"), Some(Layer::Pure));
    assert_eq!(layer("pipeline/consumer/page"), Some(Layer::Loop));
    assert_eq!(layer("aws"), Some(Layer::Adapter));
    assert_eq!(layer("awsome"), None);
    assert!(!may_name(Layer::Pure, Layer::Port) && !may_name(Layer::Adapter, Layer::Loop));
    assert!(!may_name(Layer::Loop, Layer::Shell) && may_name(Layer::Shell, Layer::Loop));
}
