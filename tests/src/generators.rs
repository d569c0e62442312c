//! Generators of revocation lists and registers of any size.

use std::fs;
use std::path::Path;

use bank_client::environment::{Clock as _, SystemClock};
use chrono::TimeDelta;
use fixtures::scheme_ca::{CaLevel, SchemeCa};
use shared_types::pki::register::RegisterFile;

/// A CRL of the issuing CA of the scheme in that folder, with a number of entries.
pub fn write_list(authority: &Path, file: &Path, entries: usize) {
    let authority = SchemeCa::open(authority, TimeDelta::days(7)).unwrap();
    let mut state = 1;
    let serials = (0..entries).map(|_| serial(&mut state));
    let list = authority
        .made_up_list(CaLevel::Issuing, 1_000_000, serials, SystemClock.now())
        .unwrap();
    fs::write(file, list).unwrap();
}

/// A random serial number of 20 octets, like those of our authorities (splitmix64).
fn serial(state: &mut u64) -> Vec<u8> {
    let mut octets = vec![0x40];
    while octets.len() < 20 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        octets.extend((mixed ^ (mixed >> 31)).to_be_bytes());
    }
    octets.truncate(20);
    octets
}

/// A register extended to a number of organisations by copies of the first one under other numbers.
#[must_use]
pub fn longer(register: &RegisterFile, organisations: usize) -> RegisterFile {
    let mut longer = register.clone();
    let copied = longer.organisations[0].clone();
    for number in longer.organisations.len()..organisations {
        let mut copy = copied.clone();
        copy.national_reference = format!("PSDDE-BAFIN-9{number:06}").parse().unwrap();
        longer.organisations.push(copy);
    }
    longer
}
