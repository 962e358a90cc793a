//! What exporters measured of a job's GPUs and memory around its failure. Values that no series gave are absent: an
//! empty answer is not zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The measurements of one job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// The GPUs that the job holds or held; where no label tells pods, those of its nodes.
    pub gpus: Vec<GpuFact>,
    pub memory: Vec<MemoryFact>,
}

impl Measured {
    /// True where some source tells of Xids or ECC errors, so that their absence means something.
    #[must_use]
    pub fn tells_gpu_health(&self) -> bool {
        self.gpus.iter().any(|gpu| gpu.tells_health)
    }
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub at: Timestamp,
    pub value: f64,
}

/// One GPU as the DCGM exporter tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuFact {
    pub node: Option<String>,
    /// The pod of the job that holds it; none where no label tells.
    pub pod: Option<String>,
    pub container: Option<String>,
    /// Number on its node.
    pub index: Option<String>,
    pub uuid: Option<String>,
    pub model: Option<String>,
    /// In percent, oldest first.
    pub utilization: Vec<Reading>,
    /// Used frame buffer in MiB, oldest first.
    pub memory_used: Vec<Reading>,
    /// Used and free frame buffer in MiB.
    pub memory_total: Option<f64>,
    /// Highest in the window, in °C.
    pub temperature: Option<f64>,
    /// Highest in the window, in W.
    pub power: Option<f64>,
    /// Why its clocks were held down at any time of the window.
    pub throttled: Vec<Throttle>,
    pub xid: Option<XidReading>,
    /// Error counters that are not zero.
    pub errors: Vec<GpuErrors>,
    /// Its Xids or ECC errors are exported, so that none stated means none.
    pub tells_health: bool,
}

/// The last Xid that a GPU reported. The gauge keeps it until the exporter restarts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct XidReading {
    pub code: u32,
    /// When it was first seen in the window.
    pub seen: Timestamp,
    /// It came within the window; else it may be old, and another job's.
    pub fresh: bool,
}

/// A counter of errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuErrors {
    pub kind: GpuErrorKind,
    pub total: f64,
    /// How much it grew in the window.
    pub growth: f64,
    /// The first reading that was higher than the one before.
    pub grew: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuErrorKind {
    /// Uncorrectable ECC errors.
    DoubleBit,
    /// Corrected ECC errors.
    SingleBit,
    RemapFailure,
    RemapPending,
    RowsRemappedUncorrectable,
    RowsRemappedCorrectable,
    PagesRetired,
    Nvlink,
    PcieReplay,
}

/// Why a GPU's clocks are held down, from the bits of `nvmlClocksEventReasons` in NVML's header. Idling and clocks that
/// an application or administrator set are no throttling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    SoftwarePowerCap,
    HardwareSlowdown,
    SoftwareThermal,
    HardwareThermal,
    PowerBrake,
}

impl Throttle {
    /// The reasons in a bit mask.
    #[must_use]
    pub fn of_mask(mask: u64) -> Vec<Self> {
        [
            (0x04, Self::SoftwarePowerCap),
            (0x08, Self::HardwareSlowdown),
            (0x20, Self::SoftwareThermal),
            (0x40, Self::HardwareThermal),
            (0x80, Self::PowerBrake),
        ]
        .into_iter()
        .filter(|(bit, _)| mask & bit != 0)
        .map(|(_, reason)| reason)
        .collect()
    }
}

/// The working set of a container against its limit, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryFact {
    pub pod: String,
    pub container: String,
    /// Oldest first.
    pub working_set: Vec<Reading>,
    pub limit: Option<f64>,
}

impl MemoryFact {
    /// The highest working set in the window.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        self.working_set
            .iter()
            .map(|reading| reading.value)
            .reduce(f64::max)
    }
}
