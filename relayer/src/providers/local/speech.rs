//! Speech through espeak-ng, where it is installed: a formant synthesiser, intelligible and small, in a hundred languages.

use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::providers::openai::spoken;
use crate::providers::{Answer, Blob, ProviderError, TextToSpeech};

const PROGRAM: &str = "espeak-ng";
/// Time for one text.
const TIME: Duration = Duration::from_secs(30);
/// Largest recording: about ten minutes.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Words a minute at speed 1.
const WORDS_A_MINUTE: u64 = 175;

/// Whether the program is there; looked for once.
static INSTALLED: LazyLock<bool> = LazyLock::new(|| {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file())
});

/// Whether texts can be spoken here.
pub(super) fn is_installed() -> bool {
    *INSTALLED
}

/// Speaks a text. The text goes through standard input and the voice is a word: neither can become an option.
pub(super) async fn speak(provider: &str, job: &TextToSpeech) -> Result<Answer, ProviderError> {
    let unavailable =
        |reason: &str| ProviderError::Unavailable { provider: provider.to_owned(), reason: reason.to_owned() };
    if job.format.as_deref().is_some_and(|format| format != "wav") {
        // Known before it starts, and about the request: this voice writes WAV alone.
        return Err(ProviderError::Refused { provider: provider.to_owned(), status: 415 });
    }
    let mut command = Command::new(PROGRAM);
    command.arg("--stdin").arg("--stdout").arg("-b").arg("1").arg("-s").arg(words_a_minute(job).to_string());
    if let Some(voice) = &job.voice {
        command.arg("-v").arg(voice);
    }
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| unavailable("espeak-ng does not start"))?;
    let mut input = child.stdin.take().ok_or_else(|| unavailable("espeak-ng takes no input"))?;
    let text = job.input.clone();
    let writing = async move {
        // A program that stops reading has its reasons; what it wrote tells.
        let _ = input.write_all(text.as_bytes()).await;
    };
    let output = child.wait_with_output();
    let (_, output) = tokio::time::timeout(TIME, async { tokio::join!(writing, output) })
        .await
        .map_err(|_| ProviderError::Timeout { provider: provider.to_owned(), seconds: TIME.as_secs() })?;
    let output = output.map_err(|_| unavailable("espeak-ng broke off"))?;
    if !output.status.success() || output.stdout.len() <= 44 {
        // It knows the text and the speed; what is left is the voice.
        return Err(ProviderError::Refused { provider: provider.to_owned(), status: 422 });
    }
    if output.stdout.len() > MAX_BYTES {
        return Err(ProviderError::BadAnswer { provider: provider.to_owned(), reason: "it is too long".to_owned() });
    }
    Ok(spoken(job, Blob { content_type: "audio/wav".to_owned(), bytes: wav(output.stdout).into() }))
}

/// 80 to 450: what it understands. The speed is a decimal number; its digits are read, not computed with.
fn words_a_minute(job: &TextToSpeech) -> u64 {
    let text = job.speed.as_ref().map_or_else(|| "1".to_owned(), ToString::to_string);
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let fraction: String = fraction.chars().chain("00".chars()).take(2).collect();
    let hundredths =
        whole.parse::<u64>().unwrap_or(1).saturating_mul(100).saturating_add(fraction.parse().unwrap_or(0));
    (WORDS_A_MINUTE.saturating_mul(hundredths) / 100).clamp(80, 450)
}

/// Written to a pipe, a WAV states no length; players want one.
fn wav(mut bytes: Vec<u8>) -> Vec<u8> {
    let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    for (at, size) in [(4, total.saturating_sub(8)), (40, total.saturating_sub(44))] {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&size.to_le_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn job(speed: &str) -> TextToSpeech {
        serde_json::from_str(&format!(r#"{{"model": "m", "input": "a", "speed": {speed}}}"#)).unwrap()
    }

    #[test]
    fn the_speed_is_read_by_its_digits() {
        for (speed, words) in
            [("1", 175), ("1.0", 175), ("2", 350), ("0.5", 87), ("1.25", 218), ("4", 450), ("0.25", 80)]
        {
            assert_eq!(words_a_minute(&job(speed)), words, "{speed}");
        }
    }

    #[test]
    fn a_wav_from_a_pipe_gets_its_length() {
        let fixed = wav(vec![0xFF; 144]);
        assert_eq!(fixed.get(4..8).unwrap(), 136_u32.to_le_bytes());
        assert_eq!(fixed.get(40..44).unwrap(), 100_u32.to_le_bytes());
        assert_eq!(wav(vec![1, 2]), [1, 2]);
    }

    /// Runs where the program is installed; the answer without it is tested in the catalogue.
    #[tokio::test]
    async fn a_text_is_spoken_where_it_can_be() {
        let spoken = speak("local", &job("1")).await;
        if is_installed() {
            let blob = &spoken.unwrap().artifacts.first().unwrap().blob.clone();
            assert!(blob.bytes.starts_with(b"RIFF") && blob.bytes.len() > 1000);
        } else {
            assert!(matches!(spoken, Err(ProviderError::Unavailable { .. })));
        }
    }
}
