//! A server of one function, for tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sori_server::netguard::{AllowNet, Guard, GuardOptions, Names};

/// A connection, plain or TLS.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A request, read whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }
}

/// A running server; it lives as long as the test's process.
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves with a function that writes the whole answer.
    pub fn start(answer: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::with_tls(None, answer)
    }

    pub fn with_tls(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, answer, requests) = (tls.clone(), answer.clone(), requests.clone());
                thread::spawn(move || {
                    let mut stream: Box<dyn Stream> = match tls {
                        None => Box::new(stream),
                        Some(config) => Box::new(StreamOwned::new(
                            ServerConnection::new(config).unwrap(),
                            stream,
                        )),
                    };
                    let Some(request) = read(&mut *stream) else {
                        return;
                    };
                    requests.lock().unwrap().push(request.clone());
                    answer(&request, &mut *stream);
                    let _ = stream.flush();
                });
            }
        });
        server
    }

    /// A URL of this server under a name that only the guard of [`guard`] knows.
    pub fn url(&self, path: &str) -> String {
        format!("http://media.test:{}{path}", self.address.port())
    }

    pub fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn read(stream: &mut dyn Stream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut request = Request {
        path: line.split(' ').nth(1)?.to_owned(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// Writes a whole answer; a client that went away is no error.
pub fn answer(stream: &mut dyn Stream, status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// Options in which `media.test` may be anything and is this machine, and every other name is this machine and forbidden.
pub fn options() -> GuardOptions {
    GuardOptions {
        allow: vec![AllowNet::Host("media.test".into())],
        names: Names::Given(Arc::new(|_| Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))),
        ..GuardOptions::default()
    }
}

pub fn guard() -> Guard {
    Guard::new(options())
}
