//! Control files → numbers (cgroup-v2.rst).

/// What a leaf has used since its child was started. What the kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Bytes, page cache included (`memory.current`), and the most there ever were (`memory.peak`, Linux 5.19).
    pub memory: u64,
    pub memory_peak: u64,
    /// How often the kernel ended it because memory was out (`memory.events`, `oom_kill`: each of its processes counts).
    pub oom_kills: u64,
    /// Microseconds of CPU, and for how long it had to wait for its quota (`cpu.stat`).
    pub cpu_us: u64,
    pub throttled_us: u64,
    /// Threads (`pids.current`), and how often no more could be started (`pids.events`).
    pub threads: u64,
    pub refused_threads: u64,
    /// Percent of the last ten seconds in which some of it waited for CPU, memory, a disk (`*.pressure`, psi.rst).
    pub cpu_pressure: f64,
    pub memory_pressure: f64,
    pub io_pressure: f64,
}

impl Stats {
    /// From the texts of control files; `read` gives the text of one, or `None`.
    pub(super) fn read(read: impl Fn(&str) -> Option<String>) -> Self {
        let number = |file: &str| read(file).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let pressure = |file: &str| read(file).map_or(0.0, |text| some_avg10(&text));
        let [events, cpu, threads] =
            ["memory.events", "cpu.stat", "pids.events"].map(|file| read(file).unwrap_or_default());
        Self {
            memory: number("memory.current"),
            memory_peak: number("memory.peak"),
            oom_kills: field(&events, "oom_kill"),
            cpu_us: field(&cpu, "usage_usec"),
            throttled_us: field(&cpu, "throttled_usec"),
            threads: number("pids.current"),
            refused_threads: field(&threads, "max"),
            cpu_pressure: pressure("cpu.pressure"),
            memory_pressure: pressure("memory.pressure"),
            io_pressure: pressure("io.pressure"),
        }
    }
}

/// `some avg10=1.50 avg60=…` → 1.5.
fn some_avg10(text: &str) -> f64 {
    let value = |line: &str| line.strip_prefix("some avg10=")?.split(' ').next()?.parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}

/// The value of `name` in lines of name and value.
pub(super) fn field(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_leaf() {
        let file = |name: &str| {
            let text = match name {
                "memory.current" => "104857600\n",
                "memory.events" => "low 0\nhigh 0\nmax 31\noom 1\noom_kill 4\noom_group_kill 1\n",
                "cpu.stat" => "usage_usec 5000000000\nuser_usec 1\nsystem_usec 2\nnr_throttled 3\nthrottled_usec 77\n",
                "pids.current" => "12\n",
                "pids.events" => "max 9\n",
                "memory.pressure" => {
                    "some avg10=12.50 avg60=3.00 avg300=0.00 total=9\nfull avg10=7.00 avg60=0.00 avg300=0.00 total=3\n"
                }
                _ => return None,
            };
            Some(text.to_owned())
        };
        let stats = Stats {
            memory: 104_857_600,
            memory_peak: 0,
            oom_kills: 4,
            cpu_us: 5_000_000_000,
            throttled_us: 77,
            threads: 12,
            refused_threads: 9,
            memory_pressure: 12.5,
            ..Stats::default()
        };
        assert_eq!(Stats::read(file), stats);
        assert_eq!(Stats::read(|_| None), Stats::default());
        assert_eq!(Stats::read(|_| Some("max\n".to_owned())), Stats::default());
    }
}
