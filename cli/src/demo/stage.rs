//! What the audience sees: acts, what happened in each, and that every claim was checked.

use std::fmt::Display;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, Outcome};

/// Prints the story to standard error.
#[derive(Debug, Default)]
pub(super) struct Stage {
    act: u32,
    checks: u32,
}

impl Stage {
    /// A story of its own, with this title.
    pub(super) fn open(title: &str) -> Self {
        eprintln!("\n══ {title} ══");
        Self::default()
    }

    /// Begins an act.
    pub(super) fn act(&mut self, title: &str) {
        self.act += 1;
        eprintln!("\n{}. {title}", self.act);
    }

    /// Something that happened.
    pub(super) fn says(&self, text: impl Display) {
        eprintln!("   · {text}");
    }

    /// A claim. The story ends here when it does not hold.
    pub(super) fn holds(&mut self, claim: impl Display, condition: bool) -> Outcome<()> {
        if !condition {
            eprintln!("   ✗ {claim}");
            return Err(Failure::broken(format!("did not hold: {claim}")));
        }
        self.checks += 1;
        eprintln!("   ✓ {claim}");
        Ok(())
    }

    /// How many claims were checked so far.
    pub(super) fn checks(&self) -> u32 {
        self.checks
    }

    /// A bar for `count` things.
    pub(super) fn bar(&self, count: u64, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("   {bar:40} {pos}/{len} {msg} {elapsed}");
        let bar = ProgressBar::new(count).with_message(what.to_owned());
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
