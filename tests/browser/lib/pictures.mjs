// Pictures compared: peak signal to noise ratio in decibels over all bytes of RGB.

// Both as PNG files. The page's own decoder reads them.
export async function psnr(page, a, b) {
  const pixels = async (png) => page.evaluate(async (bytes) => {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return { width: bitmap.width, height: bitmap.height, data: Array.from(data) };
  }, Array.from(png));
  return compare(await pixels(a), await pixels(b));
}

// A part of a screenshot, scaled to the size of a picture, against the picture.
export async function psnrOnScreen(page, screenshot, part, png) {
  const scaled = await page.evaluate(async ([shot, part, png]) => {
    const decode = (bytes) => createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
    const [shown, picture] = [await decode(shot), await decode(png)];
    const read = (draw) => {
      const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
      context.imageSmoothingQuality = "high";
      draw(context);
      return { width: picture.width, height: picture.height, data: Array.from(context.getImageData(0, 0, picture.width, picture.height).data) };
    };
    return [
      read((c) => c.drawImage(shown, part.x, part.y, part.width, part.height, 0, 0, picture.width, picture.height)),
      read((c) => c.drawImage(picture, 0, 0)),
    ];
  }, [Array.from(screenshot), part, Array.from(png)]);
  return compare(...scaled);
}

function compare(a, b) {
  if (a.width !== b.width || a.height !== b.height) throw new Error(`${a.width}x${a.height} is not ${b.width}x${b.height}`);
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) if (i % 4 !== 3) sum += (a.data[i] - b.data[i]) ** 2;
  const mean = sum / (a.data.length / 4 * 3);
  return mean === 0 ? Infinity : 10 * Math.log10(255 ** 2 / mean);
}

// The square in which the canvas shows a square picture: as large as fits with a margin all around (app/src/studio/canvas.rs).
export function shownAt(canvas) {
  const side = Math.min(canvas.width, canvas.height) - 36;
  return { x: canvas.x + (canvas.width - side) / 2, y: canvas.y + (canvas.height - side) / 2, width: side, height: side };
}
