//! Log capture for one test: the SDK's log events on the test's thread.
//!
//! The process has one subscriber, installed at the first capture and enabled on a thread only
//! while it captures. With a subscriber for each test, tracing-core would cache a callsite as
//! disabled whenever a thread without a subscriber reached it first, and its lines would be missing
//! from the test. A test that captures runs on a current-thread runtime.

use std::cell::RefCell;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The log of this thread since its capture began. `None` while it does not capture.
    static CAPTURED: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Captured {
    text: Vec<u8>,
    events: Vec<Event>,
}

/// An event of the SDK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub level: Level,
    pub message: String,
    /// The other fields, in the order in which they were recorded.
    pub fields: Vec<(&'static str, String)>,
}

/// Capture of the SDK's events up to `DEBUG` on this thread, until it is dropped. One at a time on
/// each thread.
pub struct LogCapture {
    /// It belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl LogCapture {
    /// Installs the subscriber of the process. Tests that emit events which others capture call it
    /// first: tracing-core can lose a callsite that is registered during the installation.
    pub fn install() {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let text = tracing_subscriber::fmt::layer()
                .with_writer(|| TextWriter)
                .with_ansi(false)
                .with_target(false)
                .without_time();
            let layers = text.and_then(EventRecorder).with_filter(
                dynamic_filter_fn(|metadata, _| is_captured(metadata))
                    .with_max_level_hint(LevelFilter::DEBUG),
            );
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layers))
                .unwrap();
        });
    }

    pub fn start() -> Self {
        Self::install();
        // A callsite that another thread registered during the installation may have missed the
        // subscriber.
        tracing::callsite::rebuild_interest_cache();
        let before = CAPTURED.replace(Some(Captured::default()));
        assert!(before.is_none(), "this thread captures already");
        Self {
            not_send: PhantomData,
        }
    }

    /// The log so far, as text: a line for each event, with its spans.
    pub fn text(&self) -> String {
        CAPTURED.with_borrow(|captured| {
            let text = captured.as_ref().map(|captured| captured.text.clone());
            String::from_utf8(text.unwrap_or_default()).unwrap()
        })
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        CAPTURED.with_borrow(|captured| {
            let events = captured.as_ref().map(|captured| captured.events.clone());
            events.unwrap_or_default()
        })
    }
}

impl Drop for LogCapture {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

fn is_captured(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("bank_client")
        && *metadata.level() <= Level::DEBUG
        && CAPTURED.with_borrow(Option::is_some)
}

fn with_captured(record: impl FnOnce(&mut Captured)) {
    CAPTURED.with_borrow_mut(|captured| captured.as_mut().map(record));
}

struct TextWriter;

impl Write for TextWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with_captured(|captured| captured.text.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct EventRecorder;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for EventRecorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut recorded = Event {
            level: *event.metadata().level(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut recorded);
        with_captured(|captured| captured.events.push(recorded));
    }
}

impl Visit for Event {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }
}
