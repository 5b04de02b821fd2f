// Package picture folds an image file into squares, and draws them.
//
// [Fold] asks the image once what each host cluster holds, and adds it up: how many
// bytes of each square are needed for what, and how many contiguous runs begin
// there. A picture takes memory for its squares, and [Fold] that of
// [qcow2.Image.Host] beside it. The pictures ([Picture.Text], [Picture.SVG],
// [Picture.HTML]) are drawn of these numbers alone.
package picture
