// What a page lacks for people who cannot see it well: names of controls, contrast of text (WCAG 2.2, AA).
() => {
  const faults = [];
  const seen = (node) => {
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    return box.width > 1 && box.height > 1 && style.visibility !== "hidden" && style.opacity !== "0"
      && box.right > 0 && box.left < innerWidth;
  };
  const name = (node) => (node.getAttribute("aria-label") || node.innerText || node.placeholder || node.title
    || (node.labels && [...node.labels].map((each) => each.innerText).join("")) || "").trim();
  for (const node of document.querySelectorAll("button, a[href], input, textarea, select, [role=button], [role=combobox]")) {
    if (seen(node) && !name(node)) faults.push(`no name: ${node.outerHTML.slice(0, 120)}`);
    if (seen(node) && node.tabIndex < 0 && !node.disabled && node.getAttribute("aria-disabled") !== "true" && !node.closest("[disabled], .disabled")) {
      faults.push(`not in reach of the keyboard: ${node.outerHTML.slice(0, 120)}`);
    }
  }
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {  // any CSS colour as [r, g, b, alpha]
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => below.map((each, i) => top[i] * top[3] + each * (1 - top[3]));
  const behind = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      const layer = colour(getComputedStyle(each).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (rgb) => rgb.map((each) => each / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !node || !seen(node) || node.closest("script, style, .q-notifications, .nicegui-error-popup, [disabled], .disabled")) continue;
    const style = getComputedStyle(node), below = behind(node);
    const [one, two] = [light(over(colour(style.color), below)), light(below)];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large || node.classList.contains("q-icon") ? 3 : 4.5)) {
      faults.push(`contrast ${contrast.toFixed(2)}: ${texts.currentNode.textContent.trim().slice(0, 40)} in ${node.className}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return faults;
}
