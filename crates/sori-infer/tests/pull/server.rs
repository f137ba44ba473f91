//! A small real HTTP server that answers as it is told, cuts connections and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line, `GET /x HTTP/1.1`.
    pub line: String,
    /// Header names in lower case.
    pub headers: HashMap<String, String>,
}

impl Request {
    /// The path of the request line.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The first byte asked for, 0 without a range.
    pub fn from(&self) -> usize {
        let range = self
            .headers
            .get("range")
            .and_then(|r| r.strip_prefix("bytes="));
        range
            .and_then(|r| r.trim_end_matches('-').parse().ok())
            .unwrap_or(0)
    }
}

/// Which length an answer announces.
#[derive(Clone, Copy, Debug, Default)]
pub enum Announced {
    /// The one of the body.
    #[default]
    Own,
    /// Another one.
    Other(usize),
    /// None: the end of the connection is the end of the body.
    Nothing,
}

/// What to answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The length that is announced.
    pub announced: Announced,
    /// How many bytes of the body are sent before the connection is cut.
    pub cut: Option<usize>,
}

impl Reply {
    /// An answer with only a status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// The whole body.
    pub fn whole(body: &[u8]) -> Self {
        Self {
            status: 200,
            body: body.to_vec(),
            ..Self::default()
        }
    }

    /// What a server with ranges answers.
    pub fn ranged(request: &Request, body: &[u8], etag: &str) -> Self {
        let from = request.from();
        let same = request
            .headers
            .get("if-range")
            .is_none_or(|tag| tag == etag);
        let tag = ("ETag", etag.to_owned());
        if from == 0 || !same {
            return Self {
                headers: vec![tag],
                ..Self::whole(body)
            };
        }
        if from >= body.len() {
            return Self::status(416);
        }
        let range = (
            "Content-Range",
            format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
        );
        Self {
            status: 206,
            headers: vec![tag, range],
            body: body[from..].to_vec(),
            ..Self::default()
        }
    }

    /// A redirect.
    pub fn redirect(to: String) -> Self {
        Self {
            status: 302,
            headers: vec![("Location", to)],
            ..Self::default()
        }
    }

    /// The same answer, cut after so many bytes of the body.
    pub fn cut(self, bytes: usize) -> Self {
        Self {
            cut: Some(bytes),
            ..self
        }
    }
}

/// A running server; it ends with the test process.
pub struct Server {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    // Shared with the serving thread, which appends before it answers.
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server; `answer` gets each request and its number, from 0.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&log);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is part of the tests.
                let _ = serve(stream, &answer, &seen);
            }
        });
        Self { url, log }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log
            .lock()
            .expect("no test thread panics with it")
            .clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &impl Fn(&Request, usize) -> Reply,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    loop {
        let Some(line) = lines.next().transpose()? else {
            return Ok(());
        };
        let mut headers = HashMap::new();
        while let Some(header) = lines
            .next()
            .transpose()?
            .filter(|header| !header.is_empty())
        {
            if let Some((name, value)) = header.split_once(':') {
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
        }
        let request = Request { line, headers };
        let number = {
            let mut log = log.lock().expect("no test thread panics with it");
            log.push(request.clone());
            log.len() - 1
        };
        if request.line.starts_with("CONNECT ") {
            // As a proxy: the tunnel leads back to this server.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            continue;
        }
        let reply = answer(&request, number);
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
        match reply.announced {
            Announced::Own => head += &format!("Content-Length: {}\r\n", reply.body.len()),
            Announced::Other(length) => head += &format!("Content-Length: {length}\r\n"),
            Announced::Nothing => {}
        }
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
        return stream.flush();
    }
}
