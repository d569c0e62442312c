//! Texts of the pages. Another language is another value of [`Texts`].
//!
//! `{name}` in a text is a placeholder that [`Texts::fill`] replaces. Texts of one page stand together,
//! in reading order.

mod english;
mod english_other_banks;
mod other_banks;

pub(super) use self::english::ENGLISH;
pub(super) use self::other_banks::OtherBanksTexts;
use super::foreign::isolated;

/// Texts in one language.
pub(super) struct Texts {
    /// Its tag (RFC 5646), for the `lang` of the pages.
    pub(super) language: &'static str,
    /// How numbers and dates are written.
    pub(super) writing: Writing,
    pub(super) frame: FrameTexts,
    pub(super) log_in: LogInTexts,
    pub(super) second_factor: SecondFactorTexts,
    pub(super) accounts: AccountTexts,
    pub(super) authorise: AuthoriseTexts,
    pub(super) consents: ConsentTexts,
    pub(super) phone: PhoneTexts,
    pub(super) passkeys: PasskeyTexts,
    pub(super) other_banks: OtherBanksTexts,
    pub(super) problems: ProblemTexts,
}

/// How numbers and dates are written.
pub(super) struct Writing {
    /// Between thousands.
    pub(super) thousands: &'static str,
    /// Before the decimals.
    pub(super) point: &'static str,
    /// From January.
    pub(super) months: [&'static str; 12],
    /// The same, short.
    pub(super) short_months: [&'static str; 12],
    /// `{day}`, `{month}` (a name) and `{year}`.
    pub(super) date: &'static str,
    /// `{month}` and `{year}`.
    pub(super) month: &'static str,
    /// `{date}` and `{time}`.
    pub(super) time: &'static str,
}

/// Text of a message page: what happened, and what to do.
pub(super) struct Explained {
    /// Stable name for tests and support; not translated.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) happened: &'static str,
    pub(super) to_do: &'static str,
}

/// Around every page.
pub(super) struct FrameTexts {
    pub(super) skip: &'static str,
    pub(super) navigation: &'static str,
    pub(super) accounts: &'static str,
    pub(super) other_banks: &'static str,
    pub(super) consents: &'static str,
    pub(super) passkeys: &'static str,
    pub(super) log_out: &'static str,
    pub(super) about: &'static str,
    pub(super) never_ask: &'static str,
    pub(super) errors: &'static str,
    pub(super) misdirected: &'static str,
    pub(super) no_address: &'static str,
    pub(super) to_start: &'static str,
    pub(super) to_log_in: &'static str,
    pub(super) to_consents: &'static str,
    pub(super) to_phone: &'static str,
}

/// The log-in, first step.
pub(super) struct LogInTexts {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) to_approve: &'static str,
    pub(super) customer: &'static str,
    pub(super) customer_hint: &'static str,
    pub(super) password: &'static str,
    pub(super) go_on: &'static str,
    pub(super) customer_missing: &'static str,
    pub(super) password_missing: &'static str,
    pub(super) wrong: &'static str,
    pub(super) wrong_with_passkey: &'static str,
    pub(super) no_second_element: &'static str,
    pub(super) check_address: &'static str,
    pub(super) already: &'static str,
    pub(super) already_lead: &'static str,
    pub(super) already_go_on: &'static str,
    pub(super) already_other: Explained,
    pub(super) as_another: &'static str,
    pub(super) logged_out: Explained,
    pub(super) locked: Explained,
}

/// Second factor, on any page.
pub(super) struct SecondFactorTexts {
    pub(super) title: &'static str,
    pub(super) code: &'static str,
    pub(super) code_hint: &'static str,
    pub(super) code_missing: &'static str,
    pub(super) taken: &'static str,
    pub(super) no_code: &'static str,
    pub(super) wrong: &'static str,
    pub(super) passkey_lead: &'static str,
    pub(super) passkey_needs_script: &'static str,
    pub(super) passkey_failed: &'static str,
    pub(super) with_code: &'static str,
    pub(super) with_passkey: &'static str,
    pub(super) log_in: &'static str,
    pub(super) none: Explained,
    pub(super) other_banks: Explained,
    pub(super) stale: Explained,
    pub(super) used_up: Explained,
    pub(super) busy: Explained,
}

/// The accounts and their transactions.
pub(super) struct AccountTexts {
    pub(super) title: &'static str,
    pub(super) none: &'static str,
    pub(super) totals: &'static str,
    pub(super) total: &'static str,
    pub(super) account: &'static str,
    pub(super) card: &'static str,
    pub(super) balance: &'static str,
    pub(super) booked: &'static str,
    pub(super) expected: &'static str,
    pub(super) available: &'static str,
    pub(super) not_invoiced: &'static str,
    pub(super) not_enabled: &'static str,
    pub(super) no_balance: &'static str,
    pub(super) owner: &'static str,
    pub(super) number: &'static str,
    pub(super) product: &'static str,
    pub(super) limit: &'static str,
    pub(super) transactions: &'static str,
    pub(super) find: &'static str,
    pub(super) find_in: &'static str,
    pub(super) find_hint: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) find_button: &'static str,
    pub(super) find_all: &'static str,
    pub(super) wrong_date: &'static str,
    pub(super) wrong_order: &'static str,
    pub(super) wrong_text: &'static str,
    pub(super) day: &'static str,
    pub(super) what: &'static str,
    pub(super) amount: &'static str,
    pub(super) pending: &'static str,
    pub(super) unnamed: &'static str,
    pub(super) no_transactions: &'static str,
    pub(super) nothing_found: &'static str,
    pub(super) nothing_yet: &'static str,
    pub(super) older: &'static str,
    pub(super) search_on: &'static str,
    pub(super) newest: &'static str,
    pub(super) chart: &'static str,
    pub(super) chart_text: &'static str,
    pub(super) chart_table: &'static str,
    pub(super) chart_short: &'static str,
    pub(super) months: &'static str,
    pub(super) month: &'static str,
    pub(super) money_in: &'static str,
    pub(super) money_out: &'static str,
    pub(super) difference: &'static str,
    pub(super) partly: &'static str,
    pub(super) unknown: Explained,
    pub(super) bad_page: Explained,
}

/// Approving a consent: on the pages, and on the phone.
pub(super) struct AuthoriseTexts {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) who: &'static str,
    pub(super) name: &'static str,
    pub(super) number: &'static str,
    pub(super) authority: &'static str,
    pub(super) checked: &'static str,
    pub(super) which: &'static str,
    pub(super) choose: &'static str,
    pub(super) choose_hint: &'static str,
    pub(super) choose_all: &'static str,
    pub(super) of_each: &'static str,
    pub(super) also: &'static str,
    pub(super) more: &'static str,
    pub(super) masked: &'static str,
    pub(super) none_chosen: &'static str,
    pub(super) sees_details: &'static str,
    pub(super) sees_balances: &'static str,
    pub(super) sees_transactions: &'static str,
    pub(super) sees_owner: &'static str,
    pub(super) cannot: &'static str,
    pub(super) how_long: &'static str,
    pub(super) once: &'static str,
    pub(super) often: &'static str,
    pub(super) until: &'static str,
    pub(super) end_any_time: &'static str,
    pub(super) several: &'static str,
    pub(super) several_given: &'static str,
    pub(super) last_approval: &'static str,
    pub(super) your_answer: &'static str,
    pub(super) approve: &'static str,
    pub(super) refuse: &'static str,
    pub(super) as_customer: &'static str,
    pub(super) logged_in_as: &'static str,
    pub(super) approved: Explained,
    pub(super) approved_partly: Explained,
    pub(super) refused: Explained,
    pub(super) unknown: Explained,
    pub(super) lapsed: Explained,
    pub(super) used_up: Explained,
    pub(super) finished: Explained,
    pub(super) consent_over: Explained,
    pub(super) others: Explained,
    pub(super) approved_before: Explained,
    pub(super) not_the_customers: Explained,
    pub(super) no_account: Explained,
    pub(super) other_way: Explained,
    pub(super) not_finished: Explained,
}

/// Consents.
pub(super) struct ConsentTexts {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) now: &'static str,
    pub(super) now_none: &'static str,
    pub(super) before: &'static str,
    pub(super) given: &'static str,
    pub(super) ended: &'static str,
    pub(super) last_used: &'static str,
    pub(super) never_used: &'static str,
    pub(super) accounts: &'static str,
    pub(super) until: &'static str,
    pub(super) valid: &'static str,
    pub(super) partly: &'static str,
    pub(super) received: &'static str,
    pub(super) rejected: &'static str,
    pub(super) expired: &'static str,
    pub(super) revoked: &'static str,
    pub(super) terminated: &'static str,
    pub(super) gone_account: &'static str,
    pub(super) end: &'static str,
    pub(super) end_of: &'static str,
    pub(super) end_title: &'static str,
    pub(super) end_lead: &'static str,
    pub(super) end_now: &'static str,
    pub(super) keep: &'static str,
    pub(super) done: Explained,
    pub(super) not_running: Explained,
}

/// The page for the phone.
pub(super) struct PhoneTexts {
    pub(super) title: &'static str,
    pub(super) sandbox: &'static str,
    pub(super) not_enrolled: &'static str,
    pub(super) log_in_first: &'static str,
    pub(super) enrol_lead: &'static str,
    pub(super) enrol: &'static str,
    pub(super) confirm_lead: &'static str,
    pub(super) enrol_now: &'static str,
    pub(super) too_many: Explained,
    pub(super) devices: &'static str,
    pub(super) devices_none: &'static str,
    pub(super) since: &'static str,
    pub(super) this_device: &'static str,
    pub(super) remove_of: &'static str,
    pub(super) remove_title: &'static str,
    pub(super) remove_lead: &'static str,
    pub(super) removed_one: Explained,
    pub(super) of: &'static str,
    pub(super) nothing: &'static str,
    pub(super) again: &'static str,
    pub(super) asks: &'static str,
    pub(super) asked_at: &'static str,
    pub(super) password: &'static str,
    pub(super) password_hint: &'static str,
    pub(super) wrong: &'static str,
    pub(super) only_if: &'static str,
    pub(super) remove: &'static str,
    pub(super) approved: Explained,
    pub(super) refused: Explained,
    pub(super) removed: Explained,
    pub(super) over: Explained,
}

/// Passkeys.
pub(super) struct PasskeyTexts {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) none: &'static str,
    pub(super) name: &'static str,
    pub(super) name_hint: &'static str,
    pub(super) name_default: &'static str,
    pub(super) added: &'static str,
    pub(super) last_used: &'static str,
    pub(super) never_used: &'static str,
    pub(super) actions: &'static str,
    pub(super) remove: &'static str,
    pub(super) remove_of: &'static str,
    pub(super) remove_title: &'static str,
    pub(super) remove_lead: &'static str,
    pub(super) remove_now: &'static str,
    pub(super) keep: &'static str,
    pub(super) gone: Explained,
    pub(super) add: &'static str,
    pub(super) add_title: &'static str,
    pub(super) confirm_lead: &'static str,
    pub(super) go_on: &'static str,
    pub(super) new_lead: &'static str,
    pub(super) save: &'static str,
    pub(super) done: Explained,
    pub(super) removed: Explained,
    pub(super) too_many: Explained,
    pub(super) not_added: Explained,
}

/// Errors of any page.
pub(super) struct ProblemTexts {
    pub(super) not_found: Explained,
    pub(super) wrong_method: Explained,
    pub(super) session_over: Explained,
    pub(super) foreign_form: Explained,
    pub(super) foreign_form_before_log_in: Explained,
    pub(super) foreign_origin: Explained,
    pub(super) form_too_large: Explained,
    pub(super) form_type: Explained,
    pub(super) form_unreadable: Explained,
    pub(super) form_unknown_field: Explained,
    pub(super) form_repeated_field: Explained,
    pub(super) form_missing_field: Explained,
    pub(super) headers_too_large: Explained,
    pub(super) too_slow: Explained,
    pub(super) failed: Explained,
    pub(super) unavailable: Explained,
}

impl Texts {
    /// Replaces the placeholders of a text, each value [`isolated`]. Braces in a value are kept.
    #[expect(
        clippy::unused_self,
        reason = "filling a placeholder may depend on the language"
    )]
    pub(super) fn fill(&self, text: &str, values: &[(&str, &str)]) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                rest = after;
                continue;
            };
            let value = values.iter().find(|(known, _)| *known == name);
            match value {
                Some((_, value)) => filled.push_str(&isolated(value)),
                None => filled.push_str(name),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let filled = ENGLISH.fill("{a} and {b}, {c}.", &[("a", "{b}"), ("b", "<two>")]);
        assert_eq!(filled, "{b} and <two>, c.");
    }
}
