package worker

import (
	"image"
	"image/color"
	"image/draw"
)

// maxSide bounds the result: a larger photograph is sampled down to it before
// it is composed, so that a worker's time does not grow with the camera.
const maxSide = 768

// compose prints the garment on what the person wears and pins a small copy of
// the garment to the upper right corner. No model is at work here: the clothes
// are the patch of one colour around the point where they usually are in a
// portrait.
func compose(person, garment image.Image) *image.RGBA {
	p, g := sample(person, maxSide), sample(garment, maxSide)
	printOn(p, g, findClothes(p))
	pin(p, g)
	return p
}

// sample copies src into an RGBA picture with no side longer than limit.
func sample(src image.Image, limit int) *image.RGBA {
	b := src.Bounds()
	w, h := fit(b.Dx(), b.Dy(), limit)
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	if w == b.Dx() && h == b.Dy() {
		draw.Draw(dst, dst.Rect, src, b.Min, draw.Src)
		return dst
	}
	for y := range h {
		for x := range w {
			dst.Set(x, y, src.At(b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h))
		}
	}
	return dst
}

// fit scales w x h down, keeping its shape, until neither side exceeds limit.
func fit(w, h, limit int) (int, int) {
	longest := max(w, h)
	if longest <= limit {
		return w, h
	}
	return max(1, w*limit/longest), max(1, h*limit/longest)
}

// clothes says how much (0-255) of each pixel of a picture is clothing.
type clothes struct {
	share  []uint8
	box    image.Rectangle // around all of it
	bright int             // its mean brightness, 0-255, at least 1
}

// findClothes floods over pixels of the colour found at one side of the chest,
// from there and from the other side, so that an open zip or a belt between the
// two does not stop it.
func findClothes(p *image.RGBA) clothes {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	c := clothes{share: make([]uint8, w*h)}
	start := image.Pt(w*30/100, h*62/100)
	like := likeness(patch(p, start))
	sum, n := 0, 0
	todo := []image.Point{start, image.Pt(w*60/100, h*62/100)}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !at.In(p.Rect) || c.share[at.Y*w+at.X] > 0 {
			continue
		}
		px := ycbcr(p, at)
		s := like(px)
		if s == 0 {
			continue
		}
		c.share[at.Y*w+at.X] = s
		c.box = c.box.Union(image.Rectangle{at, at.Add(image.Pt(1, 1))})
		sum, n = sum+int(px.Y), n+1
		todo = append(todo, at.Add(image.Pt(1, 0)), at.Add(image.Pt(-1, 0)), at.Add(image.Pt(0, 1)), at.Add(image.Pt(0, -1)))
	}
	c.bright = max(1, sum/max(1, n))
	return c
}

// patch is the mean colour of the 9 x 9 pixels around at.
func patch(p *image.RGBA, at image.Point) color.YCbCr {
	r := image.Rect(at.X-4, at.Y-4, at.X+5, at.Y+5).Intersect(p.Rect)
	var y, cb, cr int
	for j := r.Min.Y; j < r.Max.Y; j++ {
		for i := r.Min.X; i < r.Max.X; i++ {
			px := ycbcr(p, image.Pt(i, j))
			y, cb, cr = y+int(px.Y), cb+int(px.Cb), cr+int(px.Cr)
		}
	}
	n := max(1, r.Dx()*r.Dy())
	return color.YCbCr{Y: uint8(y / n), Cb: uint8(cb / n), Cr: uint8(cr / n)}
}

// likeness rates a colour against the reference: 255 the same, 0 another one,
// falling softly in between. A saturated colour is known by its hue, so folds
// and shadows belong to it; a grey one only by its brightness.
func likeness(ref color.YCbCr) func(color.YCbCr) uint8 {
	const soft = 16
	reach, light := 64, 4 // light: quarters of a brightness step that count
	if apart(ref.Cb, 128)+apart(ref.Cr, 128) > 40 {
		reach, light = 56, 1
	}
	return func(c color.YCbCr) uint8 {
		d := apart(c.Cb, ref.Cb) + apart(c.Cr, ref.Cr) + light*apart(c.Y, ref.Y)/4
		return uint8(min(max(reach-d, 0), soft) * 255 / soft)
	}
}

func apart(a, b uint8) int {
	return max(int(a)-int(b), int(b)-int(a))
}

func ycbcr(p *image.RGBA, at image.Point) color.YCbCr {
	px := p.RGBAAt(at.X, at.Y)
	y, cb, cr := color.RGBToYCbCr(px.R, px.G, px.B)
	return color.YCbCr{Y: y, Cb: cb, Cr: cr}
}

// printOn replaces the clothes by the garment's picture, stretched over them
// and darkened or lightened as the clothes were, so that folds stay.
func printOn(p, g *image.RGBA, c clothes) {
	w := p.Rect.Dx()
	for y := c.box.Min.Y; y < c.box.Max.Y; y++ {
		for x := c.box.Min.X; x < c.box.Max.X; x++ {
			share := int(c.share[y*w+x])
			if share == 0 {
				continue
			}
			old := p.RGBAAt(x, y)
			ink := g.RGBAAt((x-c.box.Min.X)*g.Rect.Dx()/c.box.Dx(), (y-c.box.Min.Y)*g.Rect.Dy()/c.box.Dy())
			shade := fold(int(ycbcr(p, image.Pt(x, y)).Y), c.bright)
			p.SetRGBA(x, y, color.RGBA{
				R: mix(old.R, ink.R, shade, share),
				G: mix(old.G, ink.G, shade, share),
				B: mix(old.B, ink.B, shade, share),
				A: 255,
			})
		}
	}
}

// fold is how bright a spot of cloth is against the cloth's mean, in percent:
// between a deep shadow (45) and a highlight (135).
func fold(spot, mean int) int {
	return min(max(100*(spot+32)/(mean+32), 45), 135)
}

// mix lays share/255 of ink, shaded in percent, over old.
func mix(old, ink uint8, shade, share int) uint8 {
	printed := min(int(ink)*shade/100, 255)
	return uint8((int(old)*(255-share) + printed*share) / 255)
}

// pin puts a white-framed copy of the garment, a quarter as wide as the
// picture, into the upper right corner.
func pin(p, g *image.RGBA) {
	const frame = 3
	small := sample(g, max(1, min(p.Rect.Dx(), p.Rect.Dy())/4))
	to := small.Rect.Add(image.Pt(p.Rect.Dx()-small.Rect.Dx()-3*frame, 3*frame))
	draw.Draw(p, to.Inset(-frame), image.White, image.Point{}, draw.Src)
	draw.Draw(p, to, small, image.Point{}, draw.Src)
}
