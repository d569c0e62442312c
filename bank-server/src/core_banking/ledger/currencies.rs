//! ISO 4217: the currencies in which an account can be held, and their decimals.

use shared_types::xs2a::money::Currency;

/// Whether ISO 4217 lists the code.
pub(super) fn is_known(code: &str) -> bool {
    ISO_4217.split(' ').any(|known| known == code)
}

/// Number of decimals of the currency's minor unit, as far as an amount can have them: the standard
/// allows three, and the two units of account with four are not used on accounts.
pub(super) fn decimals(currency: Currency) -> u32 {
    let listed = |list: &str| list.split(' ').any(|code| code == currency.as_str());
    if listed(NO_DECIMALS) {
        0
    } else if listed(THREE_DECIMALS) {
        3
    } else {
        2
    }
}

const NO_DECIMALS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";

/// `CLF` and `UYW` have four.
const THREE_DECIMALS: &str = "BHD CLF IQD JOD KWD LYD OMR TND UYW";

/// The currencies in which an account can be held (ISO 4217, list one of 2026, without codes for
/// tests and metals, and without `XXX`: each currency of a multi-currency account is an account
/// here). A currency that has just ended stays.
const ISO_4217: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND \
    BOB BOV BRL BSD BTN BWP \
    BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB \
    EUR FJD FKP GBP GEL GHS \
    GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW \
    KRW KWD KYD KZT LAK LBP \
    LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK \
    NPR NZD OMR PAB PEN PGK \
    PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP \
    SZL THB TJS TMT TND TOP \
    TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF \
    YER ZAR ZMW ZWG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_the_minor_unit() {
        for (code, expected) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 3), ("HUF", 2)] {
            assert!(is_known(code), "{code}");
            assert_eq!(decimals(code.parse().unwrap()), expected, "{code}");
        }
        let listed = NO_DECIMALS.split(' ').chain(THREE_DECIMALS.split(' '));
        for code in listed {
            assert!(is_known(code), "{code}");
        }
        for code in ["XXX", "XAU", "EU", "eur", "", "EUR USD"] {
            assert!(!is_known(code), "{code}");
        }
    }
}
