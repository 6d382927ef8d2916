// A file of Stable Diffusion 1.5's size and shapes in f16, all zeros and sparse: 2.1 GB that take no room on the disk.

import { open } from "node:fs/promises";

// Names as in diffusers, with the component before them.
export function shapes() {
  const out = [];
  const put = (name, ...shape) => out.push([name, shape]);
  const linear = (name, o, i, bias = true) => { put(`${name}.weight`, o, i); if (bias) put(`${name}.bias`, o); };
  const conv = (name, o, i, k) => { put(`${name}.weight`, o, i, k, k); put(`${name}.bias`, o); };
  const norm = (name, c) => { put(`${name}.weight`, c); put(`${name}.bias`, c); };

  const resnet = (name, i, o, time) => {
    norm(`${name}.norm1`, i); conv(`${name}.conv1`, o, i, 3);
    if (time) linear(`${name}.time_emb_proj`, o, time);
    norm(`${name}.norm2`, o); conv(`${name}.conv2`, o, o, 3);
    if (i !== o) conv(`${name}.conv_shortcut`, o, i, 1);
  };
  const transformer = (name, c) => {
    norm(`${name}.norm`, c); conv(`${name}.proj_in`, c, c, 1);
    const block = `${name}.transformer_blocks.0`;
    for (const [attention, inner] of [["attn1", c], ["attn2", 768]]) {
      linear(`${block}.${attention}.to_q`, c, c, false);
      linear(`${block}.${attention}.to_k`, c, inner, false);
      linear(`${block}.${attention}.to_v`, c, inner, false);
      linear(`${block}.${attention}.to_out.0`, c, c);
    }
    for (const n of [1, 2, 3]) norm(`${block}.norm${n}`, c);
    linear(`${block}.ff.net.0.proj`, 8 * c, c); linear(`${block}.ff.net.2`, c, 4 * c);
    conv(`${name}.proj_out`, c, c, 1);
  };

  const widths = [320, 640, 1280, 1280];
  conv("unet.conv_in", 320, 4, 3);
  linear("unet.time_embedding.linear_1", 1280, 320); linear("unet.time_embedding.linear_2", 1280, 1280);
  const skips = [320];
  widths.forEach((c, level) => {
    for (let i = 0; i < 2; i++) {
      resnet(`unet.down_blocks.${level}.resnets.${i}`, i ? c : widths[level - 1] ?? 320, c, 1280);
      if (level < 3) transformer(`unet.down_blocks.${level}.attentions.${i}`, c);
      skips.push(c);
    }
    if (level < 3) { conv(`unet.down_blocks.${level}.downsamplers.0.conv`, c, c, 3); skips.push(c); }
  });
  for (const i of [0, 1]) resnet(`unet.mid_block.resnets.${i}`, 1280, 1280, 1280);
  transformer("unet.mid_block.attentions.0", 1280);
  let at = 1280;
  [...widths].reverse().forEach((c, level) => {
    for (let i = 0; i < 3; i++) {
      resnet(`unet.up_blocks.${level}.resnets.${i}`, at + skips.pop(), c, 1280);
      if (level > 0) transformer(`unet.up_blocks.${level}.attentions.${i}`, c);
      at = c;
    }
    if (level < 3) conv(`unet.up_blocks.${level}.upsamplers.0.conv`, c, c, 3);
  });
  norm("unet.conv_norm_out", 320); conv("unet.conv_out", 4, 320, 3);

  const coder = [128, 256, 512, 512];
  const middle = (name) => {
    for (const i of [0, 1]) resnet(`${name}.mid_block.resnets.${i}`, 512, 512);
    norm(`${name}.mid_block.attentions.0.group_norm`, 512);
    for (const part of ["to_q", "to_k", "to_v", "to_out.0"]) linear(`${name}.mid_block.attentions.0.${part}`, 512, 512);
  };
  conv("vae.encoder.conv_in", 128, 3, 3);
  coder.forEach((c, level) => {
    for (let i = 0; i < 2; i++) resnet(`vae.encoder.down_blocks.${level}.resnets.${i}`, i ? c : coder[level - 1] ?? 128, c);
    if (level < 3) conv(`vae.encoder.down_blocks.${level}.downsamplers.0.conv`, c, c, 3);
  });
  middle("vae.encoder"); norm("vae.encoder.conv_norm_out", 512); conv("vae.encoder.conv_out", 8, 512, 3);
  conv("vae.quant_conv", 8, 8, 1); conv("vae.post_quant_conv", 4, 4, 1);
  conv("vae.decoder.conv_in", 512, 4, 3);
  middle("vae.decoder");
  [...coder].reverse().forEach((c, level, order) => {
    for (let i = 0; i < 3; i++) resnet(`vae.decoder.up_blocks.${level}.resnets.${i}`, i ? c : order[level - 1] ?? 512, c);
    if (level < 3) conv(`vae.decoder.up_blocks.${level}.upsamplers.0.conv`, c, c, 3);
  });
  norm("vae.decoder.conv_norm_out", 128); conv("vae.decoder.conv_out", 3, 128, 3);

  const text = "text_encoder.text_model";
  put(`${text}.embeddings.token_embedding.weight`, 49408, 768);
  put(`${text}.embeddings.position_embedding.weight`, 77, 768);
  for (let i = 0; i < 12; i++) {
    const layer = `${text}.encoder.layers.${i}`;
    norm(`${layer}.layer_norm1`, 768); norm(`${layer}.layer_norm2`, 768);
    for (const part of ["q", "k", "v", "out"]) linear(`${layer}.self_attn.${part}_proj`, 768, 768);
    linear(`${layer}.mlp.fc1`, 3072, 768); linear(`${layer}.mlp.fc2`, 768, 3072);
  }
  norm(`${text}.final_layer_norm`, 768);
  return out;
}

export async function write(path) {
  const entries = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const [name, shape] of shapes()) {
    const end = at + 2 * shape.reduce((a, b) => a * b, 1);
    entries[name] = { dtype: "F16", shape, data_offsets: [at, end] };
    at = end;
  }
  let json = Buffer.from(JSON.stringify(entries));
  json = Buffer.concat([json, Buffer.alloc((8 - json.length % 8) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, "w");
  await file.write(Buffer.concat([length, json]));
  await file.truncate(8 + json.length + at);
  await file.close();
  return { bytes: 8 + json.length + at, tensors: Object.keys(entries).length - 1 };
}
