package app

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// Colours of our own, beside Fyne's.
const (
	colorSurface fyne.ThemeColorName = "valetkey.surface" // cards
	colorSunken  fyne.ThemeColorName = "valetkey.sunken"  // quotes, chips, the side bar
	colorBorder  fyne.ThemeColorName = "valetkey.border"
	colorMuted   fyne.ThemeColorName = "valetkey.muted"  // text of less weight
	colorTint    fyne.ThemeColorName = "valetkey.tint"   // a light wash of the primary colour
	colorWash    fyne.ThemeColorName = "valetkey.wash"   // a light wash of the warning colour
	colorArming  fyne.ThemeColorName = "valetkey.arming" // a primary button that is not armed yet
)

// Sizes of our own.
const (
	sizeTitle   fyne.ThemeSizeName = "valetkey.title"
	sizeSection fyne.ThemeSizeName = "valetkey.section"
	sizeSmall   fyne.ThemeSizeName = "valetkey.small"
)

// look is the theme of every window: Fyne's icons and fonts, our colours and measures.
type look struct{ fyne.Theme }

func newTheme() fyne.Theme { return look{theme.DefaultTheme()} }

var sizes = map[fyne.ThemeSizeName]float32{
	sizeTitle: 19, sizeSection: 15, sizeSmall: 12,
	theme.SizeNameText: 14, theme.SizeNameCaptionText: 12, theme.SizeNameInlineIcon: 18,
	theme.SizeNamePadding: 4, theme.SizeNameInnerPadding: 8, theme.SizeNameInputRadius: 7, theme.SizeNameInputBorder: 1,
	theme.SizeNameButtonRadius: 7, theme.SizeNameScrollBar: 10, theme.SizeNameScrollBarSmall: 4, theme.SizeNameScrollBarRadius: 4,
	theme.SizeNameSelectionRadius: 4,
}

func (l look) Size(name fyne.ThemeSizeName) float32 {
	if s, ok := sizes[name]; ok {
		return s
	}
	return l.Theme.Size(name)
}

// palette holds the light and the dark value of a colour, as 0xRRGGBBAA.
var palette = map[fyne.ThemeColorName][2]uint32{
	theme.ColorNameBackground:          {0xf6f7f9ff, 0x15181dff},
	colorSurface:                       {0xffffffff, 0x1d2127ff},
	colorSunken:                        {0xeef0f4ff, 0x111419ff},
	colorBorder:                        {0xdde1e8ff, 0x323843ff},
	colorMuted:                         {0x5b6472ff, 0x9aa3b2ff},
	colorTint:                          {0xe6edfdff, 0x202c47ff},
	colorWash:                          {0xfdf3e1ff, 0x362a14ff},
	colorArming:                        {0xa9bff3ff, 0x2f4273ff},
	theme.ColorNameForeground:          {0x171c24ff, 0xe9ecf1ff},
	theme.ColorNamePrimary:             {0x2a5bd7ff, 0x4f80f5ff},
	theme.ColorNameForegroundOnPrimary: {0xffffffff, 0xffffffff},
	theme.ColorNameFocus:               {0x2a5bd766, 0x7ea3ff88},
	theme.ColorNameHyperlink:           {0x2a5bd7ff, 0x8aacffff},
	theme.ColorNameSuccess:             {0x1a7f4eff, 0x4cc38aff},
	theme.ColorNameWarning:             {0x97590aff, 0xf0b452ff},
	theme.ColorNameError:               {0xc0352bff, 0xff8078ff},
	theme.ColorNameDisabled:            {0xa3abb8ff, 0x5d6675ff},
	theme.ColorNamePlaceHolder:         {0x7d8694ff, 0x7d8797ff},
	theme.ColorNameInputBackground:     {0xffffffff, 0x111419ff},
	theme.ColorNameInputBorder:         {0xc9cfd9ff, 0x3b4250ff},
	theme.ColorNameSelection:           {0x2a5bd740, 0x4f80f566},
	theme.ColorNameHover:               {0x171c240d, 0xffffff12},
	theme.ColorNamePressed:             {0x171c241f, 0xffffff24},
	theme.ColorNameSeparator:           {0xdde1e8ff, 0x323843ff},
	theme.ColorNameScrollBar:           {0x171c2450, 0xffffff50},
	theme.ColorNameScrollBarBackground: {0x00000000, 0x00000000},
	theme.ColorNameShadow:              {0x171c2420, 0x00000080},
}

func (l look) Color(name fyne.ThemeColorName, variant fyne.ThemeVariant) color.Color {
	pair, ok := palette[name]
	if !ok {
		return l.Theme.Color(name, variant)
	}
	v := pair[0]
	if variant == theme.VariantDark {
		v = pair[1]
	}
	return color.NRGBA{uint8(v >> 24), uint8(v >> 16), uint8(v >> 8), uint8(v)}
}
