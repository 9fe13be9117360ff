//! Markdown as its readers use it: fenced blocks that are run as they stand, and commands within the text.

use std::path::PathBuf;

use compute_futures_tests::World;
use serde_json::Value;
use tokio::process::Command;

use crate::process::{binary, output, python, root};

/// What stands for a private key in a command.
const KEY: &str = "0x…";

/// A fenced block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What the comment `<!-- run: … -->` right before it says.
    pub mark: Option<&'a str>,
    pub language: &'a str,
    pub code: &'a str,
}

/// A document of the repository.
pub(crate) fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a text.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let parts: Vec<&str> = text.split("\n```").collect();
    // Every second part is inside a fence; its first line names the language.
    let inside = parts.iter().zip(&parts[1..]).step_by(2);
    inside
        .filter_map(|(before, part)| {
            let (language, code) = part.split_once('\n')?;
            let mark = before.lines().last().and_then(|line| line.strip_prefix("<!-- run: ")?.strip_suffix(" -->"));
            Some(Block { mark, language, code })
        })
        .collect()
}

/// The block of a mark.
pub(crate) fn marked<'a>(text: &'a str, mark: &str) -> Block<'a> {
    let found: Vec<Block<'_>> = blocks(text).into_iter().filter(|block| block.mark == Some(mark)).collect();
    assert_eq!(found.len(), 1, "one block is marked `run: {mark}`");
    found[0]
}

/// Code within the lines of a text.
pub(crate) fn spans(text: &str) -> Vec<&str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.lines()).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// A folder where blocks are run, one after the other, as a reader of theirs would.
pub(crate) struct Desk {
    pub folder: PathBuf,
    key: String,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    /// Inside the repository, so that Node finds the packages that a reader would install. The owner of a funded wallet sits there.
    pub(crate) fn new(world: &World, wallet: usize, name: &str) -> Self {
        let folder = world.file.dir.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let paths = [binary(), python()].map(|program| program.parent().expect("a folder").display().to_string());
        let tools = root().join("node_modules/.bin").display().to_string();
        let path = [paths.join(":"), tools, std::env::var("PATH").expect("a PATH")].join(":");
        let env = vec![
            ("PATH", path),
            ("COMPUTE_FUTURES_KEY", world.key_text(wallet)),
            ("COMPUTE_FUTURES_RELAYER", world.file.relayer.as_str().trim_end_matches('/').to_owned()),
            ("COMPUTE_FUTURES_DEVNET", world.file.dir.with_extension("json").display().to_string()),
        ];
        Self { folder, key: world.key_text(wallet), env }
    }

    /// A program with the reader's environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).envs(self.env.iter().map(|(name, value)| (*name, value))).kill_on_drop(true);
        command
    }

    /// A block as a program; all that is filled in is the key.
    pub(crate) fn program(&self, name: &str, language: &str, code: &str) -> Command {
        let code = code.replace(KEY, &self.key);
        let (program, file, code) = match language {
            "sh" => ("bash", format!("{name}.sh"), format!("set -euo pipefail\n{code}\n")),
            "js" => ("node", format!("{name}.mjs"), code),
            other => panic!("nobody runs {other}"),
        };
        std::fs::write(self.folder.join(&file), code).expect("the folder takes it");
        let mut command = self.command(program);
        command.arg(file);
        command
    }

    /// Runs a block to its end; it must succeed. Returns what it printed.
    pub(crate) async fn run(&self, name: &str, block: Block<'_>) -> String {
        output(&mut self.program(name, block.language, block.code)).await
    }

    /// Runs a line of shell; it must succeed.
    pub(crate) async fn sh(&self, line: &str) -> String {
        output(self.command("bash").args(["-euo", "pipefail", "-c", line])).await
    }

    /// A file that a block left.
    pub(crate) fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The same as JSON.
    pub(crate) fn json(&self, file: &str) -> Value {
        let text = self.text(file);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{file} holds no JSON: {text}"))
    }
}

#[test]
fn blocks_are_found_with_their_marks() {
    let text = "a `b c`\n```sh\nsh -c `x`\n```\n<!-- run: it -->\n```js\n1;\n2;\n```\n`d`";
    let expected = [
        Block { mark: None, language: "sh", code: "sh -c `x`" },
        Block { mark: Some("it"), language: "js", code: "1;\n2;" },
    ];
    assert_eq!(blocks(text), expected);
    assert_eq!(marked(text, "it"), expected[1]);
    assert_eq!(spans(text), ["b c", "d"]);
}
