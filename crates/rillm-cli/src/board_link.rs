//! The serial line of a board.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// A board's serial line. A separate thread reads it.
pub struct Link {
    to: Box<dyn Write + Send>,
    from: Receiver<std::io::Result<Vec<u8>>>,
}

/// What a board has sent.
pub enum Received {
    Bytes(Vec<u8>),
    /// Nothing in the given time.
    Nothing,
}

impl Link {
    /// Opens a serial port.
    pub fn open(port: &str, baud: u32) -> Result<Self> {
        let to = serialport::new(port, baud).timeout(Duration::from_millis(100)).open();
        let to = to.with_context(|| format!("cannot open the port {port}{}", others(port)))?;
        let from = to.try_clone().with_context(|| format!("cannot read from the port {port}"))?;
        Ok(Self::new(from, to))
    }

    /// A line of which both ends are there. A read may time out.
    pub fn new(mut from: impl Read + Send + 'static, to: impl Write + Send + 'static) -> Self {
        let (found, received) = channel();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            loop {
                let result = match from.read(&mut buf) {
                    Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => continue,
                    Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                    Ok(len) => Ok(buf[..len].to_vec()),
                    Err(error) => Err(error),
                };
                let ended = result.is_err();
                if found.send(result).is_err() || ended {
                    break;
                }
            }
        });
        Self { to: Box::new(to), from: received }
    }

    /// What the board sends next, within `patience`.
    ///
    /// # Errors
    /// The line is closed, as when a USB cable is pulled out.
    pub fn receive(&mut self, patience: Duration) -> Result<Received> {
        match self.from.recv_timeout(patience) {
            Ok(Ok(bytes)) => Ok(Received::Bytes(bytes)),
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => bail!("the board has closed the line"),
            Ok(Err(error)) => Err(anyhow!(error).context("the board is gone")),
            Err(RecvTimeoutError::Timeout) => Ok(Received::Nothing),
            Err(RecvTimeoutError::Disconnected) => bail!("the board is gone"),
        }
    }

    /// Sends bytes to the board.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).and_then(|()| self.to.flush()).context("cannot write to the board")
    }
}

/// The ports of this computer other than the one that did not open, for an error.
fn others(port: &str) -> String {
    let ports = serialport::available_ports().unwrap_or_default();
    let names: Vec<String> = ports.into_iter().map(|port| port.port_name).filter(|name| name != port).collect();
    if names.is_empty() { String::new() } else { format!(" (others: {})", names.join(", ")) }
}
