//! A receiver of callbacks: keeps what it gets and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// A request that came in.
pub struct Got {
    /// Headers by their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Got {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A receiver on a free port.
pub struct Receiver {
    /// Its address.
    pub url: String,
    got: Channel<Got>,
}

impl Receiver {
    /// Answers with these status codes in turn, then with 200.
    pub fn answering(mut codes: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (told, got) = channel();
        codes.reverse();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let mut line = String::new();
                let mut headers = Vec::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    if let Some((name, value)) = line.trim_end().split_once(": ") {
                        headers.push((name.to_lowercase(), value.to_owned()));
                    }
                    line.clear();
                }
                let length = headers.iter().find(|(n, _)| n == "content-length");
                let length = length.and_then(|(_, v)| v.parse::<usize>().ok());
                // A server that is killed while it sends has sent nothing.
                let Some(length) = length.filter(|_| line == "\r\n") else {
                    continue;
                };
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let code = codes.pop().unwrap_or(200);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                if told.send(Got { headers, body }).is_err() {
                    return;
                }
            }
        });
        Self { url, got }
    }

    /// The next request.
    pub fn next(&self) -> Got {
        self.got
            .recv_timeout(Duration::from_secs(30))
            .expect("a callback")
    }

    /// Whether nothing comes for a while.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        matches!(self.got.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}
