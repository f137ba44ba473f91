//! What the service says of itself: log lines, and traces where a collector is named.

use std::io::IsTerminal;

use anyhow::{Context, Result, anyhow};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sori_server::config::{LogFormat, LogSection};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The variable that names a collector (OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP").
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Sends log lines to stderr, as text for people or as JSON, and spans to the collector that the environment names.
///
/// # Errors
/// When the filter is none, or the collector's address cannot be used.
pub fn start(section: &LogSection) -> Result<Option<SdkTracerProvider>> {
    let filter = EnvFilter::try_new(&section.level)
        .with_context(|| format!("log.level = {:?}", section.level))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match section.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match json {
        true => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
        false => lines.with_ansi(terminal).boxed(),
    };
    let traces = match std::env::var_os(COLLECTOR) {
        Some(_) => Some(provider().with_context(|| COLLECTOR)?),
        None => None,
    };
    let spans = traces
        .as_ref()
        .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("sori")));
    tracing_subscriber::registry()
        .with(lines.and_then(spans).with_filter(filter))
        .try_init()
        .map_err(|e| anyhow!("the log cannot be set up: {e}"))?;
    Ok(traces)
}

/// Spans go out in batches, from a thread of their own, over HTTP.
fn provider() -> Result<SdkTracerProvider> {
    // The exporter's client panics without one; a second one is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder().with_service_name("sori").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Sends the spans that still wait.
pub fn end(traces: Option<SdkTracerProvider>) {
    if let Some(Err(error)) = traces.map(|traces| traces.shutdown()) {
        eprintln!("warning: the last traces were not taken: {error}");
    }
}
