//! What the server fetches and posts, and its TLS, over real sockets on loopback.

mod callbacks;
mod fetching;
mod hostile_urls;
mod http;
mod tls;
