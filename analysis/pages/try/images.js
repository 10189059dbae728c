// The image that the models see: a test image or a drawing. Pixels are 0..1, channels first.

/** Shows pixels on a canvas of the image's own size. */
function paint(canvas, pixels, [channels, height, width]) {
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * pixels[(channels === 3 ? c : 0) * height * width + i];
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The test images as radio buttons, which the arrow keys go through; `choose` gets pixels and a name. */
async function showTestImages(list, { count, shape, classes }, choose) {
  const bytes = await part("images"), size = shape[0] * shape[1] * shape[2];
  for (let i = 0; i < count; i++) {
    const pixels = Float32Array.from(bytes.subarray(i * size, (i + 1) * size), (value) => value / 255);
    const name = `test image ${i}: ${classes[bytes[count * size + i]]}`;
    const button = Object.assign(document.createElement("input"), { type: "radio", name: "image", value: String(i) });
    button.setAttribute("aria-label", name);
    button.addEventListener("change", () => choose(pixels, name));
    const canvas = document.createElement("canvas");
    paint(canvas, pixels, shape);
    const label = Object.assign(document.createElement("label"), { title: name });
    label.append(button, canvas);
    list.append(label);
  }
}

/** A canvas to draw on, white on black, with the pointer, or with the arrow keys and the space bar. */
function drawable(canvas, shape, choose) {
  const [channels, height, width] = shape;
  const pixels = new Float32Array(channels * height * width);
  let brush = { x: width / 2, y: height / 2 }, keys = false;

  function show() {
    paint(canvas, pixels, shape);
    if (!keys) return;
    const context = canvas.getContext("2d");
    context.fillStyle = "#e69f00";
    context.fillRect(Math.floor(brush.x), Math.floor(brush.y), 1, 1);
  }
  function dab({ x, y }) {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const ink = Math.min(1, Math.max(0, 1.9 - Math.hypot(column + 0.5 - x, row + 0.5 - y)));
        for (let c = 0, i = row * width + column; c < channels; c++, i += height * width) pixels[i] = Math.max(pixels[i], ink);
      }
    }
  }
  function stroke(to) {
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to.x - brush.x, to.y - brush.y)));
    for (let i = 1; i <= steps; i++) {
      dab({ x: brush.x + ((to.x - brush.x) * i) / steps, y: brush.y + ((to.y - brush.y) * i) / steps });
    }
    brush = to;
    show();
    choose(pixels.slice(), "your drawing");
  }
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * width) / box.width, y: ((event.clientY - box.top) * height) / box.height };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    keys = false;
    brush = at(event);
    stroke(brush);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) stroke(at(event));
  });
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    keys = true;
    if (move) brush = { x: Math.min(width - 0.5, Math.max(0.5, brush.x + move[0])), y: Math.min(height - 0.5, Math.max(0.5, brush.y + move[1])) };
    if (move) show();
    else stroke(brush);
  });
  show();
  return () => {
    pixels.fill(0);
    show();
  };
}
