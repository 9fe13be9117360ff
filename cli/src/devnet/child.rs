//! Child processes that never outlive their parent: each watches its standard input, which closes when the parent is gone,
//! however it went. Programs that do not are ended by the system.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child as Process, ChildStdin, Command};

use crate::failure::{Failure, Outcome};

/// How to start a child.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name for messages and its log file.
    pub name: &'static str,
    /// Arguments of this very binary.
    pub args: Vec<OsString>,
    /// Environment variables on top of ours.
    pub env: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    spec: Spec,
    process: Process,
    /// Held open: closing it tells the child to stop.
    leash: Option<ChildStdin>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// When the binary cannot be started or the log cannot be written.
    pub fn spawn(binary: &Path, spec: Spec) -> Outcome<Self> {
        let log = append(&spec.log)?;
        let errors = log.try_clone().map_err(|error| Failure::file(&spec.log, &error))?;
        let mut process = Command::new(binary)
            .args(&spec.args)
            .envs(spec.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            // Ctrl-C goes to the parent alone, which stops its children in order.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::file(binary, &error))?;
        let leash = process.stdin.take();
        Ok(Self { spec, process, leash })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The end of its log, for messages about its death.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.spec.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Fails when it has died.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check(&mut self) -> Outcome<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.died(&status.to_string())),
            Err(error) => Err(self.died(&error.to_string())),
        }
    }

    fn died(&self, how: &str) -> Failure {
        Failure::new(
            "child_died",
            format!("the {} stopped ({how}); the end of its log:\n{}", self.spec.name, self.last_words()),
            format!("see {}", self.spec.log.display()),
        )
    }

    /// Resolves when it has ended by itself.
    pub async fn ended(&mut self) -> Failure {
        match self.process.wait().await {
            Ok(status) => self.died(&status.to_string()),
            Err(error) => self.died(&error.to_string()),
        }
    }

    /// Asks it to stop, waits, and kills it when it takes too long.
    pub async fn stop(mut self, patience: Duration) {
        drop(self.leash.take());
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill().await;
    }
}

fn append(path: &Path) -> Outcome<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| Failure::file(path, &error))
}

/// Resolves when standard input closes: the parent is gone.
pub async fn parent_gone() {
    let (gone, seen) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocking read must not hold up the runtime's end.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = seen.await;
}

/// `compute-futures guard`: becomes a program that knows nothing of leashes, and that the system ends with our parent.
///
/// # Errors
/// When the program cannot be started; otherwise this process is it from here on.
pub fn guard(command: &[String]) -> Outcome<()> {
    use std::os::unix::process::CommandExt;
    let Some((program, args)) = command.split_first() else {
        return Err(Failure::new("usage", "no program to guard", "name one"));
    };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Failure::new("guard", error.to_string(), "run the program by itself"))?;
    let error = std::process::Command::new(program).args(args).exec();
    Err(Failure::file(Path::new(program), &error))
}
