"""Small videos of every kind that people have, encoded by ffmpeg, and its upright frames."""

import subprocess
from pathlib import Path

import numpy as np

# Four frames of a clip, as MMAction2 names the steps.
PIPELINE = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=4, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(24, 24), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
X264 = '-c:v libx264 -pix_fmt yuv420p -bf 2 -g 12'
X265 = '-c:v libx265 -x265-params log-level=0:keyint=12'
# Name: size, frames, ffmpeg's options, and what is done to the file afterwards: options of a
# second run that copies the packets, or the name of a function below.
FILES: dict[str, tuple[str, int, str, str]] = {
    'h264.mp4': ('64x48', 40, X264, ''),
    'h264.mov': ('64x48', 40, X264, ''),
    'h264.mkv': ('64x48', 40, X264, ''),
    'h264.avi': ('64x48', 40, X264, ''),
    'h264.ts': ('64x48', 40, X264, ''),
    'h264_open_gop.mp4': ('64x48', 40, f'{X264} -x264-params open-gop=1', ''),
    'h264_open_gop.mkv': ('64x48', 40, f'{X264} -x264-params open-gop=1', ''),
    'h264_sound.mp4': ('64x48', 40, f'{X264} -f lavfi -i sine -shortest', 'sound'),
    'hevc.mp4': ('64x48', 40, f'{X265} -pix_fmt yuv420p', ''),
    'hevc.mkv': ('64x48', 40, f'{X265} -pix_fmt yuv420p', ''),
    'vp8.webm': ('64x48', 40, '-c:v libvpx -g 12', ''),
    'vp9.webm': ('64x48', 40, '-c:v libvpx-vp9 -g 12 -deadline realtime', ''),
    'vp9.mp4': ('64x48', 40, '-c:v libvpx-vp9 -g 12 -deadline realtime', ''),
    'av1.mp4': ('64x64', 40, '-c:v libaom-av1 -cpu-used 8 -g 12 -pix_fmt yuv420p', ''),
    'av1.mkv': ('64x64', 40, '-c:v libaom-av1 -cpu-used 8 -g 12 -pix_fmt yuv420p', ''),
    'prores.mov': ('64x48', 12, '-c:v prores_ks', ''),
    'mjpeg.avi': ('64x48', 20, '-c:v mjpeg -q:v 3', ''),
    'mjpeg.mov': ('64x48', 20, '-c:v mjpeg -q:v 3', ''),
    'mpeg4.avi': ('64x48', 40, '-c:v mpeg4 -bf 2 -g 12 -q:v 3', ''),
    'mpeg4.mp4': ('64x48', 40, '-c:v mpeg4 -bf 2 -g 12 -q:v 3', ''),
    'mpeg2_interlaced.mpg': ('64x48', 40, '-c:v mpeg2video -bf 2 -q:v 3 -flags +ildct+ilme', ''),
    'ffv1.mkv': ('64x48', 20, '-c:v ffv1', ''),
    'ffv1.avi': ('64x48', 20, '-c:v ffv1', ''),
    'cut.mp4': ('64x48', 75, f'{X264} -g 250', '-ss 2 -c copy'),
    'cut.mov': ('64x48', 75, f'{X264} -g 50 -bf 3', '-ss 1.3 -c copy'),
    'vfr.mp4': ('64x48', 40, f"-vf select='not(mod(n\\,3))+lt(n\\,9)' -fps_mode vfr {X264}", ''),
    'vfr.mkv': ('64x48', 40, f"-vf select='not(mod(n\\,3))+lt(n\\,9)' -fps_mode vfr {X264}", ''),
    'rotated_90.mp4': ('64x48', 20, X264, '-display_rotation 90'),
    'rotated_90_wide.mp4': ('128x64', 20, X264, '-display_rotation 90'),
    'rotated_90.mkv': ('128x64', 20, X264, '-display_rotation 90'),
    'rotated_180.mp4': ('64x48', 20, X264, '-display_rotation 180'),
    'rotated_270.mov': ('64x48', 20, X264, '-display_rotation 270'),
    'rotated_hevc.mov': (
        '64x48',
        20,
        f'{X265} -pix_fmt yuv420p -tag:v hvc1',
        '-display_rotation 90',
    ),
    'mirrored.mp4': ('64x48', 20, X264, '-display_hflip'),
    'h264_10_bit.mp4': ('64x48', 20, '-c:v libx264 -pix_fmt yuv420p10le', ''),
    'hevc_10_bit.mp4': ('64x48', 20, f'{X265} -pix_fmt yuv420p10le', ''),
    'h264_444.mp4': ('64x48', 20, '-c:v libx264 -pix_fmt yuv444p', ''),
    'h264_grey.mp4': ('64x48', 20, '-c:v libx264 -pix_fmt gray', ''),
    'ffv1_grey.avi': ('64x48', 20, '-c:v ffv1 -pix_fmt gray', ''),
    'ffv1_16_bit.mkv': ('64x48', 20, '-c:v ffv1 -pix_fmt yuv444p16le', ''),
    'h264_full_range.mp4': ('64x48', 20, '-c:v libx264 -pix_fmt yuvj420p', ''),
    'h264_bt709.mp4': (
        '64x48',
        20,
        f'-vf scale=out_color_matrix=bt709 {X264} -colorspace bt709 -color_primaries bt709 '
        '-color_trc bt709',
        '',
    ),
    'alpha.mov': ('64x48', 12, '-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le', ''),
    'alpha_png.mov': ('64x48', 12, '-c:v png -pix_fmt rgba', ''),
    'alpha.webm': ('64x48', 20, '-c:v libvpx-vp9 -pix_fmt yuva420p -deadline realtime', ''),
    'odd.mkv': ('47x33', 20, '-c:v libx264 -pix_fmt yuv444p', ''),
    'odd.mp4': ('47x33', 20, '-c:v libx264 -pix_fmt yuv444p', ''),
    'odd.avi': ('5x97', 20, '-c:v mjpeg -q:v 3', ''),
    'narrow.mp4': ('48x72', 20, X264, ''),
    'square.mp4': ('72x72', 20, X264, ''),
    'one_frame.mp4': ('64x48', 1, X264, ''),
    'one_frame.avi': ('64x48', 1, '-c:v mjpeg', ''),
    'no_rate.avi': ('64x48', 20, '-c:v mjpeg', 'no_rate'),
    'fragmented.mp4': ('64x48', 40, f'{X264} -movflags frag_keyframe+empty_moov', ''),
    'no_length.webm': ('64x48', 40, '-c:v libvpx -g 12 -live 1', ''),
    'only_sound.mp4': ('64x48', 0, '', ''),
}
LARGE = {
    '4k.mp4': ('3840x2160', 4, f'{X264} -preset ultrafast', ''),
    '4k_hevc.mp4': ('3840x2160', 3, f'{X265} -preset ultrafast -pix_fmt yuv420p', ''),
}


def ffmpeg(*args) -> bytes:
    """Run imageio-ffmpeg's program; its output."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), '-y', '-nostdin', '-loglevel', 'error', *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def make_video(name: str, folder: Path) -> Path:
    """Encode a file of ``FILES`` or ``LARGE``, once."""
    path = folder / name
    if path.is_file():
        return path
    size, frames, options, after = {**FILES, **LARGE}[name]
    source = ['-f', 'lavfi', '-i', f'testsrc2=size={size}:rate=25,scroll=h=0.03:v=0.02']
    if not frames:
        ffmpeg('-f', 'lavfi', '-i', 'sine=duration=1', '-c:a', 'aac', path)
        return path
    if after == 'sound':
        options = X264
        source += ['-f', 'lavfi', '-i', 'sine', '-shortest']
    whole = folder / f'whole_{name}' if after.startswith('-') else path
    ffmpeg(*source, '-frames:v', frames, *options.split(), whole)
    if after.startswith('-display'):
        ffmpeg(*after.split(), '-i', whole, '-c', 'copy', path)
    elif after.startswith('-ss'):
        ffmpeg(*after.split()[:2], '-i', whole, '-c', 'copy', path)
    elif after == 'no_rate':
        data = bytearray(path.read_bytes())
        place = data.index(b'strh') + 8
        data[place + 24 : place + 28] = bytes(4)  # dwRate
        place = data.index(b'avih') + 8
        data[place : place + 4] = bytes(4)  # dwMicroSecPerFrame
        path.write_bytes(data)
    if whole != path:
        whole.unlink()
    return path


def shown_frames(path: Path) -> np.ndarray:
    """Frames as ffmpeg shows them, upright: uint8 RGB [T, height, width, 3]."""
    first = ffmpeg('-i', path, '-frames:v', 1, '-f', 'image2pipe', '-c:v', 'ppm', '-')
    width, height = map(int, first.split(None, 3)[1:3])
    options = '-fps_mode passthrough -f rawvideo -pix_fmt rgb24 -'
    raw = ffmpeg('-i', path, *options.split())
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
