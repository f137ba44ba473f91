//! The space in which VBx compares voices: embeddings whitened by LDA, then by PLDA.

use std::path::Path;

use sori_infer::{InferError, InferErrorKind, weights::Tensors};

use super::clustering::{Points, dot, normalise};

/// PLDA with the transform of embeddings in front of it, as community-1 has them.
///
/// pyannote/audio/utils/vbx.py `vbx_setup`. It solves a generalised eigenproblem of `W = (TᵀT)⁻¹` and `B = (Tᵀ diag(1/psi) T)⁻¹`;
/// for the square `T` that such files have, its eigenvectors are the rows of `T` and its eigenvalues are `psi`, so that
/// sorting them is all there is to do. (`B Tᵀe = psi_e T⁻¹e = psi_e W Tᵀe`.)
#[derive(Debug, Clone, PartialEq)]
pub struct Plda {
    /// Mean of embeddings, of as many numbers.
    mean1: Vec<f64>,
    /// Mean after LDA.
    mean2: Vec<f64>,
    /// LDA, column by column.
    lda: Points,
    /// Mean in the space of the PLDA.
    mu: Vec<f64>,
    /// Its axes in rows, the one that tells most speakers apart first.
    axes: Points,
    /// Variance between speakers along each axis, where that within a speaker is 1.
    phi: Vec<f64>,
}

impl Plda {
    /// Reads `xvec_transform.npz` (`mean1`, `mean2`, `lda`) and `plda.npz` (`mu`, `tr`, `psi`) of a folder.
    ///
    /// # Errors
    /// When a file is missing or damaged, an array is absent, or shapes do not fit one another.
    pub fn open(folder: &Path) -> Result<Self, InferError> {
        let transform = Tensors::open_f64(&folder.join("xvec_transform.npz"))?;
        let plda = Tensors::open_f64(&folder.join("plda.npz"))?;
        let outer = transform.tensor("mean1")?.data.len();
        let inner = transform.tensor("mean2")?.data.len();
        let mean1 = numbers(&transform, "mean1", &[outer])?;
        let mean2 = numbers(&transform, "mean2", &[inner])?;
        let lda = numbers(&transform, "lda", &[outer, inner])?;
        let mu = numbers(&plda, "mu", &[inner])?;
        let tr = numbers(&plda, "tr", &[inner, inner])?;
        let psi = numbers(&plda, "psi", &[inner])?;
        if outer == 0 || inner == 0 || psi.iter().any(|&variance| variance < 0.0) {
            return Err(damaged(&plda, "there is no axis, or a variance below zero"));
        }
        let mut order: Vec<usize> = (0..inner).collect();
        order.sort_by(|&a, &b| psi[b].total_cmp(&psi[a]));
        let column = |axis: usize| lda.iter().skip(axis).step_by(inner);
        Ok(Self {
            lda: Points {
                dimension: outer,
                values: (0..inner).flat_map(column).copied().collect(),
            },
            axes: Points {
                dimension: inner,
                values: order
                    .iter()
                    .flat_map(|&axis| &tr[axis * inner..][..inner])
                    .copied()
                    .collect(),
            },
            phi: order.iter().map(|&axis| psi[axis]).collect(),
            mean1: mean1.to_vec(),
            mean2: mean2.to_vec(),
            mu: mu.to_vec(),
        })
    }

    /// Numbers in an embedding.
    pub fn dimension(&self) -> usize {
        self.mean1.len()
    }

    /// Variance between speakers along each axis, the greatest first.
    pub(super) fn phi(&self) -> &[f64] {
        &self.phi
    }

    /// Embeddings in the space where the variance within a speaker is 1 along every axis.
    pub(super) fn project(&self, embeddings: &Points) -> Points {
        let mut out = Points::new(self.phi.len());
        for embedding in embeddings.rows() {
            let mut centred: Vec<f64> = embedding
                .iter()
                .zip(&self.mean1)
                .map(|(x, mean)| x - mean)
                .collect();
            normalise(&mut centred);
            let scale = (self.mean1.len() as f64).sqrt();
            let columns = self.lda.rows().zip(&self.mean2);
            let mut inner: Vec<f64> = columns
                .map(|(column, mean)| scale * dot(column, &centred) - mean)
                .collect();
            normalise(&mut inner);
            let scale = (self.mean2.len() as f64).sqrt();
            let around = inner.iter().zip(&self.mu).map(|(x, mu)| scale * x - mu);
            let around: Vec<f64> = around.collect();
            out.values
                .extend(self.axes.rows().map(|axis| dot(axis, &around)));
        }
        out
    }
}

/// The finite numbers of an array of this shape.
fn numbers<'a>(
    file: &'a Tensors<f64>,
    name: &str,
    shape: &[usize],
) -> Result<&'a [f64], InferError> {
    let values = file.get(name, shape)?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(damaged(
            file,
            &format!("{name} has a number that is not finite"),
        )),
    }
}

fn damaged(file: &Tensors<f64>, what: &str) -> InferError {
    let message = format!("{what}: copy or download it again");
    InferError::new(InferErrorKind::Damaged, file.path(), message)
}
