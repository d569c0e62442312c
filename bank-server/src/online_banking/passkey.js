// The one script: asks the browser for a passkey, puts its answer into the form, and sends it.
"use strict";

(() => {
  const form = document.querySelector("form[data-passkey]");
  if (!form) return;
  const button = form.querySelector("[data-passkey-button]");
  const failed = form.querySelector("[data-failed]");
  if (!window.PublicKeyCredential) return;
  button.hidden = false;
  form.querySelector("[data-no-script]").hidden = true;

  const bytes = (text) => {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  };
  const text = (buffer) => {
    const binary = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const each = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  const make = async (options) => {
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = each(options.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey: options });
    return {
      attestationObject: text(made.response.attestationObject),
      clientDataJSON: text(made.response.clientDataJSON),
      credential: made,
    };
  };
  const use = async (options) => {
    options.challenge = bytes(options.challenge);
    options.allowCredentials = each(options.allowCredentials);
    const used = await navigator.credentials.get({ publicKey: options });
    const { authenticatorData, clientDataJSON, signature, userHandle } = used.response;
    return {
      authenticatorData: text(authenticatorData),
      clientDataJSON: text(clientDataJSON),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
      credential: used,
    };
  };

  let answered = false;
  form.addEventListener("submit", async (event) => {
    if (answered || event.submitter !== button) return;
    event.preventDefault();
    button.disabled = true;
    failed.hidden = true;
    try {
      const asked = JSON.parse(form.dataset.passkey).publicKey;
      const act = form.dataset.act === "make" ? make : use;
      const { credential, ...response } = await act(asked);
      const answer = {
        id: credential.id,
        rawId: text(credential.rawId),
        type: credential.type,
        extensions: {},
        response,
      };
      form.elements.answer.value = JSON.stringify(answer);
      answered = true;
      button.disabled = false;
      form.requestSubmit(button);
    } catch (error) {
      button.disabled = false;
      failed.hidden = false;
    }
  });
})();
