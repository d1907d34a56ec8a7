//! IO: the unix socket (0600) behind `detector status`, and its client: one word in, one JSON document out.
#![expect(
    clippy::disallowed_methods,
    reason = "an IO file: silent callers are timed out"
)]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A caller that is silent for longer is cut off: callers are served one at a time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer: 5,000 members of 400 bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Everything the machine knows.
    Status,
    /// Say goodbye as one that is removed from this host, and end: `detector cleanup` asks it.
    Leave,
}

impl Question {
    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Leave => "leave",
        }
    }

    fn parse(word: &[u8]) -> Option<Self> {
        [Self::Status, Self::Leave]
            .into_iter()
            .find(|question| question.word().as_bytes() == word.trim_ascii())
    }
}

/// Binds the socket, mode 0600, in place of one that a killed process left.
///
/// # Errors
/// The directory cannot be made, or another process listens there.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("{}: another process listens", path.display()),
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Waits for the next well-formed question; who asks anything else is cut off.
///
/// # Errors
/// The listener is broken.
pub async fn next(listener: &UnixListener) -> io::Result<(Question, UnixStream)> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut word = [0; 16];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut word)).await;
        let asked = read
            .ok()
            .and_then(Result::ok)
            .and_then(|length| Question::parse(word.get(..length)?));
        if let Some(question) = asked {
            return Ok((question, stream));
        }
    }
}

/// Answers and closes; a caller that does not read is cut off.
pub async fn answer(mut stream: UnixStream, json: &str) {
    let write = async {
        stream.write_all(json.as_bytes()).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, write).await {
        tracing::debug!(%error, "who asked for the status did not read it");
    }
}

/// Asks the process behind `path`.
///
/// # Errors
/// Nobody listens there, or does not answer in time.
pub async fn ask(path: &Path, question: Question) -> io::Result<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(question.word().as_bytes()).await?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let no_answer = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 4 s");
    tokio::time::timeout(2 * PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(no_answer()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{MAX_ANSWER, PATIENCE, Question, answer, ask, bind, next};
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_question_is_answered_and_nonsense_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let serve = async {
            let (question, stream) = next(&listener).await.unwrap();
            answer(stream, "{}").await;
            question
        };
        let client = async {
            let mut nonsense = UnixStream::connect(&path).await.unwrap();
            nonsense.write_all(b"statusstatusstatus").await.unwrap();
            ask(&path, Question::Status).await.unwrap()
        };
        assert_eq!(tokio::join!(serve, client), (Question::Status, "{}".to_owned()));
    }

    #[tokio::test]
    async fn each_word_is_its_own_question_and_nothing_else_is_one() {
        for question in [Question::Status, Question::Leave] {
            assert_eq!(Question::parse(question.word().as_bytes()), Some(question));
            let line = format!("{}\n", question.word());
            assert_eq!(Question::parse(line.as_bytes()), Some(question), "from a shell");
        }
        for nonsense in [
            &b""[..],
            b"stat",
            b"statuses",
            b"status leave",
            b"STATUS",
            b"\0status",
            b"\xff\xff",
        ] {
            assert_eq!(Question::parse(nonsense), None, "{nonsense:?}");
        }
    }

    /// One who connects and is silent, or leaves without a word, delays the next caller and does not stop him.
    #[tokio::test]
    async fn a_silent_caller_is_cut_off_and_the_next_one_served() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = bind(&path).unwrap();
        let mut silent = UnixStream::connect(&path).await.unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        let serve = async {
            let (question, stream) = next(&listener).await.unwrap();
            answer(stream, "{}").await;
            question
        };
        let both = async { tokio::join!(serve, ask(&path, Question::Leave)) };
        let (question, answer) = tokio::time::timeout(10 * PATIENCE, both).await.unwrap();
        assert_eq!((question, answer.unwrap().as_str()), (Question::Leave, "{}"));
        // His end is closed: nothing more comes.
        let mut rest = Vec::new();
        assert_eq!(silent.read_to_end(&mut rest).await.unwrap(), 0);
    }

    /// Who asks and does not read is left after a while, and what he is told is not kept.
    #[tokio::test]
    async fn who_does_not_read_his_answer_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = bind(&path).unwrap();
        let mut deaf = UnixStream::connect(&path).await.unwrap();
        deaf.write_all(Question::Status.word().as_bytes()).await.unwrap();
        let (_, stream) = next(&listener).await.unwrap();
        // More than a socket's buffers hold.
        let long = "x".repeat(8 << 20);
        let answered = tokio::time::timeout(10 * PATIENCE, answer(stream, &long)).await;
        assert!(answered.is_ok(), "still answering one who does not read");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = bind(&path).unwrap();
        let serve = async {
            let (_, stream) = next(&listener).await.unwrap();
            answer(stream, &"x".repeat(8 << 20)).await;
        };
        let ((), answer) = tokio::join!(serve, ask(&path, Question::Status));
        assert_eq!(answer.unwrap().len() as u64, MAX_ANSWER);
    }

    #[tokio::test]
    async fn who_asks_waits_for_a_while_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let nobody = ask(&path, Question::Status).await.unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::NotFound);
        // Bound, and never served.
        let _listener = bind(&path).unwrap();
        let silent = tokio::time::timeout(10 * PATIENCE, ask(&path, Question::Status)).await;
        assert_eq!(silent.unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        drop(bind(&path).unwrap());
        let _live = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
}
