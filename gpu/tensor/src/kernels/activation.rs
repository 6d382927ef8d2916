//! Activation functions, fused into the kernels that produce their argument (`shaders/shared/activation.wgsl`).

/// An activation by its shader code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// Identity.
    #[default]
    None = 0,
    /// x sigmoid(x), also called swish.
    Silu = 1,
    /// x Phi(x), the exact (erf) form.
    Gelu = 2,
    /// x sigmoid(1.702 x), CLIP's approximation.
    QuickGelu = 3,
    /// max(x, 0).
    Relu = 4,
}

impl Activation {
    /// CPU twin.
    pub fn apply(self, x: f32) -> f32 {
        let wide = f64::from(x);
        let y = match self {
            Activation::None => wide,
            Activation::Silu => wide / (1.0 + (-wide).exp()),
            Activation::Gelu => 0.5 * wide * (1.0 + erf(wide * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::QuickGelu => wide / (1.0 + (-1.702 * wide).exp()),
            Activation::Relu => wide.max(0.0),
        };
        y as f32
    }
}

/// erf by its Maclaurin series (|x| < 3) or complement by continued fraction: accurate to about 1e-15, for the CPU twin only.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let mut term = a;
        let mut sum = a;
        for n in 1..200 {
            term *= -a * a / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let mut fraction = 0.0;
        for n in (1..60).rev() {
            fraction = n as f64 / 2.0 / (a + fraction);
        }
        1.0 - (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}
