"use strict";
(() => {
  // Code is copied as text; what is copied is what is shown.
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".dl-copy");
    const link = event.target.closest(".dl-text a[href]");
    if (button) {
      const code = button.closest(".dl-code").querySelector("code").textContent;
      navigator.clipboard.writeText(code).then(() => {
        const label = button.textContent;
        button.textContent = "✓";
        setTimeout(() => { button.textContent = label; }, 1200);
      });
    } else if (link) {  // what somebody wrote may not take this page away
      event.preventDefault();
      window.open(link.href, "_blank", "noopener,noreferrer");
    }
  });

  // While a reply comes, its end stays in sight, unless the reader has scrolled up.
  let following = true;
  const atEnd = () => window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 120;
  document.addEventListener("scroll", () => { following = atEnd(); }, { passive: true });
  new MutationObserver(() => {
    if (following && document.querySelector(".dl-turns")) {
      window.scrollTo(0, document.documentElement.scrollHeight);
    }
  }).observe(document.documentElement, { childList: true, subtree: true, characterData: true });

  // Single keys judge answers; in a field they are text. An input method hides the character, not the key.
  const codes = { Equal: "=", NumpadEqual: "=", KeyU: "u", KeyS: "s", KeyC: "c", NumpadEnter: "Enter" };
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const wanted = document.querySelector("[data-keys]")?.dataset.keys;
    if (!wanted || event.ctrlKey || event.metaKey || event.altKey || document.querySelector(".q-dialog")) return;
    if (target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key === "Enter" && target.closest("button, a, summary, [role=button]")) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    const key = event.key === "Process" ? (codes[event.code] || (digit && digit[1])) : event.key;
    if (key === "Enter" || (key && key.length === 1 && wanted.includes(key.toLowerCase()))) {
      event.preventDefault();
      emitEvent("dl_key", key.length === 1 ? key.toLowerCase() : key);
    }
  });
})();
