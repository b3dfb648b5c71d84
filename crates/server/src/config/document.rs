//! Holds `docs/configuration.md` to the table of settings. `UPDATE_DOCS=1 cargo test -p cloakroom-server` rewrites it.

use std::{fmt::Write, fs, path::Path};

use super::{declare::Absent, table::GROUPS};

const BEGIN: &str = "<!-- settings: made from the code -->\n";
const END: &str = "<!-- end of settings -->\n";

fn cell(text: &str) -> String {
    if text.contains('`') || text.contains(' ') {
        text.replace('|', "\\|")
    } else {
        format!("`{text}`")
    }
}

fn tables() -> String {
    let mut out = String::new();
    for group in GROUPS {
        write!(out, "\n## {}\n\n", group.title).unwrap();
        out.push_str("| setting | kind | default | example | what it does |\n");
        out.push_str("| --- | --- | --- | --- | --- |\n");
        for setting in group.settings {
            let default = match setting.absent {
                Absent::Default(text) => format!("`{text}`"),
                Absent::Unset(text) => format!("not set: {text}"),
            };
            let file = if setting.masking.is_secret() {
                " (or `_FILE`)"
            } else {
                ""
            };
            let name = setting.name;
            let (kind, example, about) = (setting.kind, cell(setting.example), setting.about());
            writeln!(
                out,
                "| `{name}`{file} | {kind} | {default} | {example} | {about} |"
            )
            .unwrap();
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_document_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let right = format!("{head}{BEGIN}{}{END}{tail}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &right).unwrap();
    } else {
        assert!(
            text == right,
            "run UPDATE_DOCS=1 cargo test -p cloakroom-server"
        );
    }
}
