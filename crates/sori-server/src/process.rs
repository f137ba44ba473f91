//! A worker process: orders in, reports out.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::codec::{FramedRead, LinesCodec};

use crate::work::{MAX_REPORT_BYTES, Order, Report};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A worker process; it is killed when this is dropped, and ends by itself when the server is gone, for its stdin closes.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: ChildStdin,
    reports: FramedRead<ChildStdout, LinesCodec>,
}

impl Process {
    /// Starts a process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &WorkerCommand) -> io::Result<Self> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the terminal is the server's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (orders, reports) = (child.stdin.take(), child.stdout.take());
        let (Some(orders), Some(reports)) = (orders, reports) else {
            unreachable!("both were asked for");
        };
        let lines = LinesCodec::new_with_max_length(MAX_REPORT_BYTES);
        Ok(Self {
            child,
            orders,
            reports: FramedRead::new(reports, lines),
        })
    }

    /// Its number, while it lives.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends an order.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn send(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        self.orders.flush().await
    }

    /// The next report; `None` when the process is gone or says what nobody understands. Safe to drop half-way.
    pub async fn next(&mut self) -> Option<Report> {
        let line = self.reports.next().await?.ok()?;
        match serde_json::from_str(&line) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::error!(%error, "a worker said what is no report");
                None
            }
        }
    }

    /// Ends the process at once and waits until it is gone; returns how it ended.
    pub async fn kill(mut self) -> String {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _ = self.child.kill().await;
        }
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}
