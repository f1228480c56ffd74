//! Tells events and supervisor what has come and gone: who waits for a camera starts when it is there.

use std::rc::Rc;

use crate::base::clock::Now;
use crate::base::task;
use crate::events::{self, Events, Fact};
use crate::hw::{self, Hardware, Media};
use crate::supervisor;
use crate::sys::memory;

const COMPONENT: &str = "Hardware";

/// Follows `hardware` from its first look on, which itself is no news.
pub(super) fn follow(mut hardware: hw::Handle, events: Events, supervisor: supervisor::Handle) {
    task::spawn(async move {
        let mut known: Option<Rc<Hardware>> = None;
        loop {
            hardware.changed().await;
            let Some(latest) = hardware.latest() else { continue };
            // Nobody looks again soon, and all who follow have heard by the next turn.
            tokio::task::yield_now().await;
            memory::settle();
            let Some(before) = known.replace(latest.clone()) else { continue };
            let news = hw::difference(&before, &latest);
            let mut present = Vec::new();
            for hw::News { device, is_present } in news {
                let (id, name, address) = (device.id.as_str(), device.name.as_str(), device.address.as_str());
                let what = if is_present { "A device has come" } else { "A device has gone" };
                log::info!(target: COMPONENT, id = id, name = name, address = address; "{what}");
                if is_present {
                    present.extend(names(&device));
                }
                events.push(Now::read(), fact(device, is_present));
            }
            if !present.is_empty() {
                supervisor.appeared(present).await;
            }
        }
    });
}

/// What an input may call it.
fn names(device: &hw::Device) -> Vec<String> {
    let names = [&device.device, &device.address];
    match device.media {
        Media::Video => vec![device.device.clone()],
        Media::Audio => names.into_iter().flat_map(|name| [name.clone(), format!("plug{name}")]).collect(),
    }
}

fn fact(device: hw::Device, is_present: bool) -> Fact {
    let media = if device.media == Media::Video { "video" } else { "audio" };
    let hw::Device { id, name, device, address, .. } = device;
    Fact::Device(events::Device { is_present, media, id, name, device, address })
}
