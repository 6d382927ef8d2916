//! The work on burn's kernels.

use burn_backend::ops::{AttentionModuleOptions, ConvOptions, FloatTensorOps, ModuleOps};
use burn_backend::{Backend, TensorData, TensorMetadata};
use burn_wgpu::{CubeTensor, Wgpu};

use crate::PeerError;
use crate::work::Work;

/// What burn calls the device.
pub type Device = burn_backend::tensor::Device<Wgpu>;

/// Inputs on the device.
pub struct Prepared {
    device: Device,
    inputs: Vec<CubeTensor>,
    work: Work,
}

impl Prepared {
    pub fn new(device: &Device, work: Work, inputs: &[Vec<f32>]) -> Prepared {
        let shapes: Vec<Vec<usize>> = match work {
            Work::Linear { m, k, n } => vec![vec![m, k], vec![n, k]],
            Work::Conv { n, edge, c, o } => vec![vec![n, c, edge, edge], vec![o, c, 3, 3]],
            Work::Attention { n, heads, tokens, d } => vec![vec![n, heads, tokens, d]; 3],
        };
        let upload = |(data, shape): (&Vec<f32>, Vec<usize>)| {
            Wgpu::float_from_data(TensorData::new(data.clone(), shape), device)
        };
        Prepared { device: device.clone(), inputs: inputs.iter().zip(shapes).map(upload).collect(), work }
    }

    fn start(&self) -> CubeTensor {
        let input = |i: usize| self.inputs[i].clone();
        match self.work {
            // A transposed view, which is what a linear layer of burn's hands to its product.
            Work::Linear { .. } => Wgpu::float_matmul(input(0), Wgpu::float_swap_dims(input(1), 0, 1)),
            Work::Conv { .. } => Wgpu::conv2d(input(0), input(1), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1)),
            Work::Attention { .. } => {
                Wgpu::attention(input(0), input(1), input(2), None, None, AttentionModuleOptions::default())
            }
        }
    }

    /// One run, waited for.
    pub fn run(&self) -> Result<(), PeerError> {
        let _result = self.start();
        Wgpu::sync(&self.device).map_err(|e| self.failure(&format!("{e:?}")))
    }

    /// Runs and reads the result.
    pub fn result(&self) -> Result<Vec<f32>, PeerError> {
        let tensor = self.start();
        // A convolution may come back with its channels last, as a view.
        let elements = tensor.shape().num_elements();
        let data = pollster::block_on(Wgpu::float_into_data(tensor)).map_err(|e| self.failure(&format!("{e:?}")))?;
        let values = data.as_slice::<f32>().map_err(|e| self.failure(&format!("{e:?}")))?;
        debug_assert_eq!(values.len(), elements);
        Ok(values.to_vec())
    }

    fn failure(&self, reason: &str) -> PeerError {
        PeerError::Theirs { what: self.work.name(), reason: reason.into() }
    }
}
