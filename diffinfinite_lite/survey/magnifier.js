// A picture in a frame, magnified and moved by pinch, drag, wheel, double click, buttons and keys.
const MOST = 8; // times; how far
const magnifier = (frame, tell) => {
  const picture = frame.querySelector("img"), fingers = new Map();
  let scale = 1, x = 0, y = 0, before = null, tapped = 0; // (x, y): px of the picture's corner, from 0 to the left and up
  const put = () => {
    const w = frame.clientWidth, h = frame.clientHeight;
    x = Math.min(0, Math.max(x, w * (1 - scale)));
    y = Math.min(0, Math.max(y, h * (1 - scale)));
    picture.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    frame.classList.toggle("near", scale > 1);
    tell(scale);
  };
  const by = (factor, px = frame.clientWidth / 2, py = frame.clientHeight / 2) => { // (px, py) stays where it is
    const next = Math.max(1, Math.min(MOST, scale * factor)), ratio = next / scale;
    [x, y, scale] = [px - (px - x) * ratio, py - (py - y) * ratio, next];
    put();
  };
  const here = (event) => {
    const box = frame.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const middle = () => {
    const points = [...fingers.values()], sum = (i) => points.reduce((total, point) => total + point[i], 0) / points.length;
    const spread = points.length > 1 ? Math.hypot(points[0][0] - points[1][0], points[0][1] - points[1][1]) : 0;
    return [sum(0), sum(1), spread];
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button) return;
    frame.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, here(event));
    before = middle();
  });
  frame.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, here(event));
    const [mx, my, spread] = middle();
    x += mx - before[0];
    y += my - before[1];
    if (spread && before[2]) by(spread / before[2], mx, my); else put();
    before = [mx, my, spread];
  });
  const up = (event) => {
    fingers.delete(event.pointerId);
    before = fingers.size ? middle() : null;
  };
  frame.addEventListener("pointerup", (event) => {
    up(event);
    if (event.pointerType === "touch" && !fingers.size) { // two taps, as browsers do not report them with touch-action
      if (event.timeStamp - tapped < 300) by(scale > 1 ? 1 / MOST : 3, ...here(event));
      tapped = event.timeStamp;
    }
  });
  frame.addEventListener("pointercancel", up);
  frame.addEventListener("dblclick", (event) => by(scale > 1 ? 1 / MOST : 3, ...here(event)));
  frame.addEventListener("wheel", (event) => { // pinching on a touchpad arrives as this, too
    if (!event.ctrlKey) return;
    event.preventDefault();
    by(Math.exp(-event.deltaY / 200), ...here(event));
  }, { passive: false });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step || scale === 1) return;
    event.preventDefault();
    x += 60 * step[0];
    y += 60 * step[1];
    put();
  });
  return { by, whole: () => by(1 / MOST) };
};
