//! Brings one artifact from one provider into its part: resumes where a connection broke, stops where the
//! signed size ends.
//! Spec: RFC 9110 §14.2 (Range), §13.1.5 (If-Range). Not here: the choice of the provider.

use std::io;

use phase_core::fetch::part::{Body, Unfit};
use phase_core::fetch::{self, PAUSE, Tries};
use tokio::time::sleep;

use super::http::{self, From, Origin};
use super::part::Part;

/// Why an artifact could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider; another may do.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The provider has another artifact under this name; another may do.
    #[error("{} has {announced} octets of {path}, the manifest says {signed}", origin.address)]
    Size {
        /// The provider.
        origin: Origin,
        /// What was asked for.
        path: String,
        /// What it announces.
        announced: u64,
        /// What was signed.
        signed: u64,
    },
    /// The provider does not say how long the artifact is; another may do.
    #[error("{} does not say how long {path} is", origin.address)]
    NoLength {
        /// The provider.
        origin: Origin,
        /// What was asked for.
        path: String,
    },
    /// This machine; no other provider helps.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl Error {
    fn unfit(origin: &Origin, path: &str, unfit: Unfit) -> Self {
        let (origin, path) = (origin.clone(), path.into());
        match unfit {
            Unfit::NoLength => Self::NoLength { origin, path },
            Unfit::Size { announced, signed } => Self::Size { origin, path, announced, signed },
        }
    }
}

/// Brings what is missing of `part`. `progress` is told how many octets are here.
///
/// # Errors
/// [`Error`]; what came before it stays in the part.
pub async fn fill(
    origin: &Origin,
    path: &str,
    part: &mut Part,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let mut etag = None;
    let mut tries = Tries::default();
    loop {
        let before = part.tally().here();
        let error = match once(origin, path, part, &mut etag, progress).await {
            Ok(()) if part.tally().missing() == 0 => return Ok(()),
            // The body ended early, without an error of its own.
            Ok(()) => None,
            Err(error) if is_passing(&error) => Some(error),
            Err(error) => return Err(error),
        };
        if !tries.go_on(part.tally().here() > before) {
            return Err(error.unwrap_or_else(|| Error::Size {
                origin: origin.clone(),
                path: path.into(),
                announced: part.tally().here(),
                signed: part.tally().expected().size,
            }));
        }
        tracing::info!(
            "the download of {path} from {} broke after {} octets; it goes on from there",
            origin.address,
            part.tally().here()
        );
        sleep(PAUSE).await;
    }
}

/// Whether another try at the same provider may go further.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Http(
            http::Error::Broken { .. } | http::Error::Silent { .. } | http::Error::Connect { .. },
        ) => true,
        Error::Http(http::Error::Status { status, .. }) => fetch::is_passing(status.as_u16()),
        Error::Http(_) | Error::Size { .. } | Error::NoLength { .. } | Error::Write(_) => false,
    }
}

/// One request and its body, up to the end of the part.
async fn once(
    origin: &Origin,
    path: &str,
    part: &mut Part,
    etag: &mut Option<String>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let from = From { offset: part.tally().here(), etag: etag.as_deref() };
    let mut response = origin.get(path, from).await?;
    match part.tally().check_body(response.start(), response.length()) {
        Ok(Body::Rest) => {}
        Ok(Body::Whole) => part.restart()?,
        Err(unfit) => return Err(Error::unfit(origin, path, unfit)),
    }
    *etag = response.etag().map(str::to_owned);
    while part.tally().missing() > 0 {
        let Some(chunk) = response.chunk().await? else { break };
        if chunk.len() as u64 > part.tally().missing() {
            let limit = part.tally().expected().size;
            return Err(http::Error::TooLong { address: origin.address, limit }.into());
        }
        part.append(&chunk)?;
        progress(part.tally().here());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use phase_core::fetch::part::Expected;
    use phase_core::wire::digest::Digest;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    const IMAGE: &[u8] = b"a kernel of twenty-seven octets";

    /// A server that gives one of `answers` to each connection, then refuses; returns the `Range` headers.
    async fn serve(answers: Vec<Vec<u8>>) -> (Origin, JoinHandle<Vec<Option<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut ranges = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(asked).unwrap();
                ranges.push(
                    asked.lines().find_map(|line| line.strip_prefix("range: ")).map(str::to_owned),
                );
                stream.write_all(&answer).await.unwrap();
            }
            ranges
        });
        (Origin { address, authority: "a".into() }, task)
    }

    fn whole(body: &[u8], length: usize) -> Vec<u8> {
        [
            format!("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {length}\r\n\r\n")
                .as_bytes(),
            body,
        ]
        .concat()
    }

    fn rest(start: usize, body: &[u8]) -> Vec<u8> {
        let (length, total) = (IMAGE.len() - start, IMAGE.len());
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"e\"\r\nContent-Length: {length}\r\nContent-Range: bytes {start}-{}/{total}\r\n\r\n",
            total - 1
        );
        [head.as_bytes(), body].concat()
    }

    fn part(directory: &tempfile::TempDir) -> Part {
        let expected = Expected { size: IMAGE.len() as u64, digest: Digest::of(IMAGE) };
        Part::open(directory.path(), expected).unwrap()
    }

    #[tokio::test]
    async fn a_broken_download_goes_on_by_range() {
        let directory = tempfile::tempdir().unwrap();
        let answers = vec![
            whole(&IMAGE[..10], IMAGE.len()),
            rest(10, &IMAGE[10..20]),
            rest(20, &IMAGE[20..]),
        ];
        let (origin, server) = serve(answers).await;
        let mut part = part(&directory);
        let mut seen = 0;
        fill(&origin, "/k", &mut part, &mut |here| seen = here).await.unwrap();
        assert_eq!(seen, IMAGE.len() as u64);
        part.complete().unwrap();
        let ranges = server.await.unwrap();
        assert_eq!(ranges, [None, Some("bytes=10-".into()), Some("bytes=20-".into())]);
    }

    #[tokio::test]
    async fn a_server_without_ranges_begins_again() {
        let directory = tempfile::tempdir().unwrap();
        let answers = vec![whole(&IMAGE[..10], IMAGE.len()), whole(IMAGE, IMAGE.len())];
        let (origin, _server) = serve(answers).await;
        let mut part = part(&directory);
        fill(&origin, "/k", &mut part, &mut |_| {}).await.unwrap();
        part.complete().unwrap();
    }

    #[tokio::test]
    async fn another_size_is_refused_before_the_body() {
        let directory = tempfile::tempdir().unwrap();
        let longer = [IMAGE, b"!"].concat();
        let (origin, _server) = serve(vec![whole(&longer, longer.len())]).await;
        let mut part = part(&directory);
        let error = fill(&origin, "/k", &mut part, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::Size { announced: 32, signed: 31, .. }), "{error}");
        assert_eq!(part.tally().here(), 0);
    }

    #[tokio::test]
    async fn o12_a_body_without_a_length_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let endless =
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &[0; 9999]].concat();
        let (origin, _server) = serve(vec![endless]).await;
        let mut part = part(&directory);
        let error = fill(&origin, "/k", &mut part, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::NoLength { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_provider_that_stops_for_good_keeps_what_it_sent() {
        let directory = tempfile::tempdir().unwrap();
        let (origin, _server) = serve(vec![whole(&IMAGE[..10], IMAGE.len())]).await;
        let mut part = part(&directory);
        let error = fill(&origin, "/k", &mut part, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::Http(_)), "{error}");
        assert_eq!(part.tally().here(), 10);
    }
}
