//! Apps: a listener whose connections a test answers by hand, with whatever bytes it likes.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::Client;

/// An app on a port of its own. Each connection is given to `answer` on its own thread.
pub(crate) struct App {
    address: String,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl App {
    pub(crate) fn start(answer: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (answer, count, stop) = (Arc::new(answer), connections.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let answer = answer.clone();
                let tcp = stream.try_clone().unwrap();
                std::thread::spawn(move || answer(Client::over(stream, Some(tcp))));
            }
        });
        Self { address, connections, stopped, thread: Some(thread) }
    }

    /// An app that answers every request of a connection with the same bytes, after it has read a head.
    pub(crate) fn that_says(response: impl Into<String>) -> Self {
        let response = response.into();
        Self::start(move |mut client| {
            while client.try_head().is_some() {
                if client.try_send(&response).is_err() {
                    return;
                }
            }
        })
    }

    /// An app that answers with the head that it was sent, as text.
    pub(crate) fn that_echoes() -> Self {
        Self::start(|mut client| {
            while let Some(head) = client.try_head() {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{head}",
                    head.len()
                );
                if client.try_send(answer).is_err() {
                    return;
                }
            }
        })
    }

    /// As an upstream's server is written.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is to end.
        let _ = std::net::TcpStream::connect(&self.address);
        let _ = self.thread.take().unwrap().join();
    }
}
