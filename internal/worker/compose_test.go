package worker

import (
	"image"
	"image/color"
	"image/draw"
	"testing"
)

var (
	red   = color.RGBA{200, 30, 30, 255}
	blue  = color.RGBA{20, 40, 200, 255}
	white = color.RGBA{240, 240, 240, 255}
)

func plain(w, h int, c color.Color) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return img
}

// dressed is a white picture with red clothes on its lower half, parted by a
// white zip.
func dressed() *image.RGBA {
	img := plain(100, 100, white)
	draw.Draw(img, image.Rect(10, 50, 90, 100), image.NewUniform(red), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(45, 50, 50, 100), image.NewUniform(white), image.Point{}, draw.Src)
	return img
}

func TestComposePrintsTheGarmentOnTheClothesOnly(t *testing.T) {
	got := compose(dressed(), plain(40, 40, blue))
	for _, spot := range []struct {
		name string
		at   image.Point
		want color.RGBA
	}{
		{"left of the zip", image.Pt(20, 80), blue},
		{"right of the zip", image.Pt(80, 80), blue},
		{"the zip", image.Pt(47, 80), white},
		{"beside the clothes", image.Pt(3, 80), white},
		{"above the clothes", image.Pt(20, 20), white},
		{"the pinned garment", image.Pt(85, 20), blue},
	} {
		c := got.RGBAAt(spot.at.X, spot.at.Y)
		if apart(c.R, spot.want.R)+apart(c.G, spot.want.G)+apart(c.B, spot.want.B) > 20 {
			t.Errorf("%s: %v, want about %v", spot.name, c, spot.want)
		}
	}
}

func TestComposeKeepsFolds(t *testing.T) {
	person := dressed()
	shadow := color.RGBA{150, 15, 15, 255}
	draw.Draw(person, image.Rect(10, 90, 90, 100), image.NewUniform(shadow), image.Point{}, draw.Src)
	got := compose(person, plain(40, 40, blue))
	lit, dark := got.RGBAAt(20, 80), got.RGBAAt(20, 95)
	if dark.B >= lit.B || dark.B < 60 {
		t.Errorf("shadow %v, lit cloth %v: want the shadow darker, and still blue", dark, lit)
	}
}

func TestComposeTakesPicturesOfAnySize(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {2, 900}, {2000, 30}} {
		got := compose(plain(size.X, size.Y, red), plain(1, 1, blue)).Rect
		if got.Empty() || got.Dx() > maxSide || got.Dy() > maxSide {
			t.Errorf("%v became %v", size, got)
		}
	}
}
