//! Parts of a request's address, refused in the shape of this API where they cannot be read.

use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};

use crate::{ApiError, ErrorKind};

/// The parts of the path that stand for something.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// What stands behind the question mark.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl From<PathRejection> for ApiError {
    fn from(refused: PathRejection) -> Self {
        Self::new(ErrorKind::Invalid, refused.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(refused: QueryRejection) -> Self {
        Self::new(ErrorKind::Invalid, refused.body_text())
    }
}
