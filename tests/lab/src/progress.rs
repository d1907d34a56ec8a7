//! What a lab is doing, as stages with seconds.

use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A step of the work, or its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something that may take a while begins; the text says what, and how long it usually takes where that is long.
    Begins(String),
    /// A stage is over.
    Ends {
        /// Its name.
        stage: String,
        /// How long it took.
        seconds: f64,
    },
}

/// Where events go.
pub struct Progress {
    report: Box<dyn FnMut(Event) + Send>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Progress")
    }
}

impl Progress {
    /// Gives every event to a callback.
    pub fn new(report: impl FnMut(Event) + Send + 'static) -> Self {
        Self {
            report: Box::new(report),
        }
    }

    /// One line on standard error for each stage that ends, and for what takes long when it begins.
    #[must_use]
    pub fn terminal() -> Self {
        Self::new(|event| match event {
            Event::Begins(text) => eprintln!("{text} …"),
            Event::Ends { stage, seconds } => eprintln!("{seconds:>7.1} s  {stage}"),
        })
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| ())
    }

    /// Passes an event on.
    pub fn report(&mut self, event: Event) {
        (self.report)(event);
    }

    /// Says that something long begins.
    pub fn say(&mut self, text: impl Into<String>) {
        self.report(Event::Begins(text.into()));
    }

    /// Runs a stage and reports how long it took, unless it failed.
    ///
    /// # Errors
    /// Those of the stage.
    pub fn stage<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let value = body(self)?;
        self.report(Event::Ends {
            stage: name.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(value)
    }
}
