-- End a park. Answers whether there was one.
return parks.lift(scope)
