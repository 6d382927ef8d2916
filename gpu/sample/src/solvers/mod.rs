//! Solvers: from noise levels to a plan.

use crate::grid::{Grid, GridRules};
use crate::plan::{Op, Plan};
use crate::{Info, KnobValues, ModelSampling, Result};

pub mod bdia;
pub mod dc_solver;
mod ddim;
mod ddpm;
mod deis;
mod dpm_2;
mod dpm_2_ancestral;
mod dpm_adaptive;
mod dpm_fast;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod edm_dpm;
mod edm_euler;
mod er_sde;
mod euler;
mod euler_ancestral;
mod flow_euler;
mod flow_heun;
mod gradient_estimation;
mod heun;
mod heunpp2;
mod ipndm;
mod ipndm_v;
mod lcm;
mod lms;
mod pndm;
mod res_multistep;
mod restart;
mod sa_solver;
mod shared;
mod tcd;
mod unipc;

/// What a solver is asked to plan.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The network's levels.
    pub model: &'a ModelSampling,
    /// The run's levels.
    pub grid: &'a Grid,
    /// Settings.
    pub knobs: &'a KnobValues,
}

/// One way to go from noise to picture.
pub trait Solver: Sync {
    /// Name, citation, settings.
    fn info(&self) -> Info;
    /// How its home scheduler lays out timesteps.
    fn rules(&self) -> GridRules;
    /// The operations of a run.
    ///
    /// # Errors
    /// A setting that cannot be used with this model or these levels.
    fn plan(&self, job: &Job<'_>) -> Result<Plan>;
    /// Where the steps depend on what came before them: how the run goes on. [`Solver::plan`] then tells what is known before the run (registers, how
    /// it starts, the range of noise levels) by steps of fixed size.
    fn adaptive(&self, _job: &Job<'_>) -> Option<Box<dyn Adaptive>> {
        None
    }
}

/// Steps that are decided while the run goes on.
pub trait Adaptive: Send {
    /// The next operations. `error` is what the last ones measured with [`Op::Error`], if they did; none at the end of the run.
    ///
    /// # Errors
    /// Steps that lead nowhere.
    fn next(&mut self, error: Option<f64>) -> Result<Option<Vec<Op>>>;
}

/// Every solver. To add one, write its file and name it here.
pub static ALL: &[&dyn Solver] = &[
    &euler::Euler,
    &euler_ancestral::EulerAncestral,
    &heun::Heun,
    &dpm_2::Dpm2,
    &dpm_2_ancestral::Dpm2Ancestral,
    &lms::Lms,
    &dpmpp_2m::Dpmpp2m,
    &dpmpp_2m_sde::Dpmpp2mSde,
    &dpmpp_3m_sde::Dpmpp3mSde,
    &dpmpp_2s_ancestral::Dpmpp2sAncestral,
    &dpmpp_sde::DpmppSde,
    &unipc::UniPc,
    &deis::Deis,
    &ddim::Ddim,
    &ddpm::Ddpm,
    &lcm::Lcm,
    &tcd::Tcd,
    &pndm::Pndm,
    &ipndm::Ipndm,
    &ipndm_v::IpndmV,
    &heunpp2::HeunPp2,
    &dpm_fast::DpmFast,
    &dpm_adaptive::DpmAdaptive,
    &res_multistep::ResMultistep,
    &gradient_estimation::GradientEstimation,
    &er_sde::ErSde,
    &sa_solver::SaSolver,
    &dc_solver::DcSolver,
    &bdia::Bdia,
    &restart::Restart,
    &edm_euler::EdmEuler,
    &edm_dpm::EdmDpm,
    &flow_euler::FlowEuler,
    &flow_heun::FlowHeun,
];
