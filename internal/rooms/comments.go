package rooms

import (
	"go/ast"
	"go/token"
	"slices"
)

// Undocumented returns the exported names without a comment: types, functions,
// constants, variables, and the methods, fields and interface methods of
// exported types. One comment serves a group of constants or variables, and the
// fields of one block without an empty line between them.
func (p *Package) Undocumented() []string {
	var bare []string
	for _, file := range p.files {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if name := funcName(d); d.Doc == nil && name != "" {
					bare = append(bare, name)
				}
			case *ast.GenDecl:
				bare = append(bare, p.bareSpecs(d)...)
			}
		}
	}
	slices.Sort(bare)
	return bare
}

// funcName is the name of an exported function, or of an exported method of an
// exported type; "" for others.
func funcName(d *ast.FuncDecl) string {
	if !d.Name.IsExported() {
		return ""
	}
	if d.Recv == nil {
		return d.Name.Name
	}
	on := receiver(d)
	if !token.IsExported(on) {
		return ""
	}
	return on + "." + d.Name.Name
}

// receiver is the name of a method's type; "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch at := t.(type) {
		case *ast.StarExpr:
			t = at.X
		case *ast.IndexExpr:
			t = at.X
		case *ast.IndexListExpr:
			t = at.X
		case *ast.Ident:
			return at.Name
		default:
			return ""
		}
	}
}

func (p *Package) bareSpecs(d *ast.GenDecl) []string {
	var bare []string
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				if d.Doc == nil && s.Doc == nil {
					bare = append(bare, s.Name.Name)
				}
				bare = append(bare, p.bareMembers(s)...)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					bare = append(bare, name.Name)
				}
			}
		}
	}
	return bare
}

// bareMembers returns the exported fields or methods of a type that have no
// comment.
func (p *Package) bareMembers(s *ast.TypeSpec) []string {
	var list *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return nil
	}
	var bare []string
	covered, end := false, 0
	for _, f := range list.List {
		begin := p.fset.Position(f.Pos()).Line
		covered = f.Doc != nil || f.Comment != nil || covered && begin == end+1
		end = p.fset.Position(f.End()).Line
		for _, name := range f.Names {
			if name.IsExported() && !covered {
				bare = append(bare, s.Name.Name+"."+name.Name)
			}
		}
	}
	return bare
}
