//! PNG, JPEG, WebP and GIF, each by its own library.

use super::{MAX_PIXELS, orientation::Orientation};
use crate::pictures::Picture;
use std::io::Cursor;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

/// Why there is no picture.
pub(super) enum Broken {
    TooLarge { width: u64, height: u64 },
    Because(String),
}

type Decoded = Result<(Picture, Orientation), Broken>;

/// An error of a library.
fn because(error: impl ToString) -> Broken {
    Broken::Because(error.to_string())
}

/// The number of pixels, if it is allowed.
fn pixels(width: u64, height: u64) -> Result<usize, Broken> {
    match width.checked_mul(height) {
        Some(0) => Err(because("it has no pixels")),
        Some(pixels) if pixels <= MAX_PIXELS => Ok(pixels as usize),
        _ => Err(Broken::TooLarge { width, height }),
    }
}

fn picture(width: u64, height: u64, data: Vec<u8>) -> Result<Picture, Broken> {
    Picture::new(width as usize, height as usize, data).map_err(because)
}

pub(super) fn png(bytes: &[u8]) -> Decoded {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    // Texts and profiles are skipped: nothing of them is needed, and they may be large when unpacked.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(because)?;
    let (width, height) = (u64::from(header.width), u64::from(header.height));
    let pixels = pixels(width, height)?;
    decoder.set_limits(png::Limits { bytes: pixels * 8 + (64 << 20) });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(because)?;
    let size = reader.output_buffer_size().ok_or(Broken::TooLarge { width, height })?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(because)?;
    data.truncate(frame.buffer_size());
    // What is left of the file holds the checksum of the pixels, and may hold the orientation.
    reader.finish().map_err(because)?;
    let turn = Orientation::of(reader.info().exif_metadata.as_deref());
    let data = match frame.color_type {
        png::ColorType::Rgb => data,
        png::ColorType::Rgba => without_alpha(&data),
        png::ColorType::Grayscale => data.iter().flat_map(|&grey| [grey; 3]).collect(),
        png::ColorType::GrayscaleAlpha => data.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        png::ColorType::Indexed => return Err(because("a palette that was not expanded")),
    };
    Ok((picture(width, height, data)?, turn))
}

pub(super) fn jpeg(bytes: &[u8]) -> Decoded {
    // Strict, for otherwise the missing part of a truncated file is grey.
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(because)?;
    let info = decoder.info().ok_or_else(|| because("it has no header"))?;
    let (width, height) = (u64::from(info.width), u64::from(info.height));
    let pixels = pixels(width, height)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    decoder.set_options(options.jpeg_set_out_colorspace(if grey { ColorSpace::Luma } else { ColorSpace::RGB }));
    let turn = Orientation::of(decoder.exif().map(Vec::as_slice));
    let data = decoder.decode().map_err(because)?;
    let data = match grey && data.len() == pixels {
        true => data.iter().flat_map(|&grey| [grey; 3]).collect(),
        false => data,
    };
    Ok((picture(width, height, data)?, turn))
}

pub(super) fn webp(bytes: &[u8]) -> Decoded {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(because)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (u64::from(width), u64::from(height));
    let pixels = pixels(width, height)?;
    decoder.set_memory_limit(pixels * 4 + (64 << 20));
    let size = decoder.output_buffer_size().ok_or(Broken::TooLarge { width, height })?;
    let mut data = vec![0; size];
    decoder.read_image(&mut data).map_err(because)?;
    let exif = decoder.exif_metadata().map_err(because)?;
    let data = if decoder.has_alpha() { without_alpha(&data) } else { data };
    Ok((picture(width, height, data)?, Orientation::of(exif.as_deref())))
}

pub(super) fn gif(bytes: &[u8]) -> Decoded {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.check_frame_consistency(true);
    options.set_memory_limit(gif::MemoryLimit::Bytes(
        std::num::NonZeroU64::new(MAX_PIXELS).unwrap_or(std::num::NonZeroU64::MIN),
    ));
    let mut decoder = options.read_info(bytes).map_err(because)?;
    let (width, height) = (u64::from(decoder.width()), u64::from(decoder.height()));
    let pixels = pixels(width, height)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(because)?.ok_or_else(|| because("it has no frame"))?;
    let palette = frame.palette.as_ref().or(global.as_ref()).ok_or_else(|| because("it has no palette"))?;
    let colour = |index: u8| {
        let at = usize::from(index) * 3;
        palette.get(at..at + 3).map_or([0; 3], |c| [c[0], c[1], c[2]])
    };
    // Around a frame smaller than the picture is what is transparent, or else the first colour.
    let mut data = colour(frame.transparent.unwrap_or(0)).repeat(pixels);
    let (left, top, columns) = (usize::from(frame.left), usize::from(frame.top), usize::from(frame.width));
    if columns > 0 {
        for (row, indices) in frame.buffer.chunks_exact(columns).enumerate() {
            let at = ((top + row) * width as usize + left) * 3;
            for (pixel, &index) in data[at..].chunks_exact_mut(3).zip(indices) {
                pixel.copy_from_slice(&colour(index));
            }
        }
    }
    Ok((picture(width, height, data)?, Orientation::default()))
}

fn without_alpha(data: &[u8]) -> Vec<u8> {
    data.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}
