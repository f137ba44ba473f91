//! The native API, and pages and numbers about the service itself.

pub mod asked;
pub mod deliveries;
pub mod description;
pub mod events;
pub mod health;
pub mod jobs;
pub mod pages;
pub mod result;
pub mod seed;
pub mod speakers;
pub mod stats;
pub mod view;
