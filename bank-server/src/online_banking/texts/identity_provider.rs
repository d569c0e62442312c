//! English texts for log-in and approval at the bank's identity provider.

use super::Explained;

texts! {
    /// Log-in and approval at the identity provider.
    IdentityProviderTexts {
        confirm_next: "Next, you confirm this with your log-in.",
        back: "Back to the request",
    } messages {
        unavailable("identity-provider-unavailable") {
            title: "Logging in is not possible at the moment",
            happened: "The service with which you log in is not responding. Nothing was approved \
                or changed.",
            to_do: "Please try again in a few minutes.",
        }
        too_many_here("too-many-log-ins-here") {
            title: "Too many log-ins were started here",
            happened: "From your device or network, many log-ins were started and not completed. \
                Nothing was approved or changed.",
            to_do: "Please try again in ten minutes. If you did not start them, call us.",
        }
        too_many("too-many-log-ins") {
            title: "Logging in is not possible at the moment",
            happened: "Too many log-ins have been started and not completed. Nothing was approved \
                or changed.",
            to_do: "Please try again in ten minutes.",
        }
        over("log-in-over") {
            title: "This log-in has ended",
            happened: "It was completed before, has timed out, or was started in another browser \
                or session. Nothing was approved or changed.",
            to_do: "Please start again.",
        }
        cancelled("log-in-cancelled") {
            title: "You are not logged in",
            happened: "The log-in was cancelled or declined.",
            to_do: "Log in again if you want to continue.",
        }
        not_accepted("log-in-not-accepted") {
            title: "You are not logged in",
            happened: "The confirmation of your log-in was not valid.",
            to_do: "Please log in again. If this happens again, call us.",
        }
        weak("log-in-not-strong") {
            title: "Your log-in needs a second factor",
            happened: "You have logged in with one factor. The law requires two for this step. \
                Nothing was approved or changed.",
            to_do: "Log in again and use your second factor. If you have none yet, visit a branch \
                or call us.",
        }
        approval_cancelled("approval-cancelled") {
            title: "You have not confirmed",
            happened: "The confirmation was cancelled or declined. Nothing was approved.",
            to_do: "You can go back to the request and decide again.",
        }
        approval_not_accepted("approval-not-accepted") {
            title: "The confirmation was not accepted",
            happened: "It was not valid for this request. Nothing was approved.",
            to_do: "Go back to the request and try again. If this happens again, call us.",
        }
        approval_of_another("approval-of-another") {
            title: "Confirmed by another customer",
            happened: "The request was confirmed with a different customer ID than the one with \
                which you are logged in. Nothing was approved.",
            to_do: "Go back to the request, and confirm with your own log-in.",
        }
        approval_changed("approval-changed") {
            title: "The request has changed",
            happened: "Since you decided, the access that {name} would get has changed. Nothing \
                was approved.",
            to_do: "Go back to the request and check it again.",
        }
    }
}
